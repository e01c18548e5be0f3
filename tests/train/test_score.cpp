#include <cmath>

#include "graft/tests/support/test.h"
#include "graft/train/score.h"

namespace graft::train {

TEST_CASE("score: mean and standard error are those of the records' ones and zeros") {
  const Score score = score_of({true, false, true, true, false});
  CHECK(score.correct == 3);
  CHECK(score.records == 5);
  CHECK(score.mean() == doctest::Approx(0.6));
  // Deviation over n - 1: (3 * 0.4² + 2 * 0.6²) / 4 = 0.3.
  CHECK(*score.standard_error() == doctest::Approx(std::sqrt(0.3) / std::sqrt(5)));
  CHECK(*score_of({true, true}).standard_error() == 0);
  CHECK_FALSE(score_of({true}).standard_error());
}

}  // namespace graft::train
