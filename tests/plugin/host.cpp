// Opens the plug-in it is given, then fills a tensor the plug-in supports and two it does not.
#include <iostream>

#include "graft/tensor/copy.h"
#include "graft/tensor/plugin.h"

int main(int, char** argv) {
  try {
    graft::load_plugin(argv[1]);
    std::cout << "loaded\n";
  } catch (const graft::ConfigError& error) {
    std::cout << "ConfigError: " << error.what() << "\n";
  } catch (const graft::IoError& error) {
    std::cout << "IoError: " << error.what() << "\n";
  }
  graft::Tensor rows = graft::Tensor::empty({2, 3});
  graft::Tensor columns = graft::Tensor::empty({2, 3}).transpose(0, 1);
  graft::Tensor doubles = graft::Tensor::empty({2, 3}, graft::DType::f64);
  for (graft::Tensor* tensor : {&rows, &columns, &doubles}) {
    graft::ops::fill_(*tensor, 7);
    std::cout << tensor->to_vector().back() << "\n";
  }
}
