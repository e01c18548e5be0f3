// The main of every test program: doctest, plus a count of skipped cases. The last line of output,
// "graft-test: P passed, F failed, S skipped", is what tools/test adds up.
#define DOCTEST_CONFIG_IMPLEMENT
#include <ostream>
#include <string>

#include "doctest/doctest.h"

#include "graft/tests/support/skip.h"

namespace {

/// Set at the end of the run where cases were skipped and none failed.
bool only_skipped = false;

/// doctest has no skipping at run time: it reports the exception as a failure. This reporter
/// replaces doctest's own and counts such a case as skipped.
struct Reporter : doctest::IReporter {
  explicit Reporter(const doctest::ContextOptions& options) : out_(*options.cout) {}

  void report_query(const doctest::QueryData&) override {}
  void test_run_start() override {}
  void test_run_end(const doctest::TestRunStats&) override {
    out_ << "graft-test: " << passed_ << " passed, " << failed_ << " failed, " << skipped_
         << " skipped\n";
    only_skipped = skipped_ > 0 && failed_ == 0;
  }
  void test_case_start(const doctest::TestCaseData& data) override {
    case_ = &data;
    was_skipped_ = false;
    announced_ = false;
  }
  void test_case_reenter(const doctest::TestCaseData&) override {}
  void test_case_end(const doctest::CurrentTestCaseStats& stats) override {
    if (was_skipped_ && stats.numAssertsFailedCurrentTest == 0)
      ++skipped_;
    else if (was_skipped_ || !stats.testCaseSuccess)
      ++failed_;
    else
      ++passed_;
  }
  void test_case_exception(const doctest::TestCaseException& exception) override {
    const std::string text = exception.error_string.c_str();
    if (text.starts_with("skipped: ")) {
      was_skipped_ = true;
      out_ << "[skip] " << case_->m_name << ": " << text.substr(9) << "\n";
      return;
    }
    // Of an exception in a subcase doctest tells twice, the first time without its text.
    if (text.starts_with("exception thrown in subcase"))
      return;
    announce();
    out_ << "  exception: " << text << "\n";
  }
  void subcase_start(const doctest::SubcaseSignature&) override {}
  void subcase_end() override {}
  void log_assert(const doctest::AssertData& data) override {
    if (!data.m_failed)
      return;
    announce();
    out_ << "  " << data.m_file << ":" << data.m_line << ": " << data.m_expr << "\n    is "
         << data.m_decomp << "\n";
    if (data.m_threw)
      out_ << "    threw " << data.m_exception << "\n";
    log_contexts();
  }
  void log_message(const doctest::MessageData& data) override {
    if (data.m_severity & doctest::assertType::is_warn) {
      out_ << "  " << data.m_string << "\n";
      return;
    }
    announce();
    out_ << "  " << data.m_file << ":" << data.m_line << ": " << data.m_string << "\n";
    log_contexts();
  }
  void test_case_skipped(const doctest::TestCaseData&) override {}

 private:
  void announce() {
    if (!announced_)
      out_ << "[fail] " << case_->m_name << "\n";
    announced_ = true;
  }
  void log_contexts() {
    for (int i = 0; i < get_num_active_contexts(); ++i) {
      out_ << "    with ";
      get_active_contexts()[i]->stringify(&out_);
      out_ << "\n";
    }
  }

  std::ostream& out_;
  const doctest::TestCaseData* case_ = nullptr;
  bool was_skipped_ = false;
  bool announced_ = false;
  int passed_ = 0;
  int failed_ = 0;
  int skipped_ = 0;
};

}  // namespace

DOCTEST_REGISTER_REPORTER("graft", 1, Reporter);

REGISTER_EXCEPTION_TRANSLATOR(const graft::test::Skipped& skipped) {
  return (std::string("skipped: ") + skipped.reason).c_str();
}

int main(int argc, char** argv) {
  doctest::Context context(argc, argv);
  context.addFilter("reporters", "graft");
  const int failures = context.run();
  return only_skipped ? 0 : failures;
}
