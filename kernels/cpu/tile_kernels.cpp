// Compiled once per instruction set, with SAD_ISA naming it (see CMakeLists.txt).
#include "bitmap_passes.h"
#include "candidates.h"
#include "fit_gradient.h"
#include "fit_moments.h"
#include "fit_statistics.h"
#include "passes.h"

// After passes.h, whose pixels it uses.
#include "descent.h"

#define SAD_STRING_(x) #x
#define SAD_STRING(x) SAD_STRING_(x)

namespace sad {
namespace SAD_ISA {

extern const Kernels kTable;
const Kernels kTable = {
    SAD_STRING(SAD_ISA), filter_super,      visit_unit,     render_tile, visit_squares,
    gradient_square,     statistics_square, moments_square, list_tile,   weigh_pixels,
    descent_setup,       descent_error,     descent_color,  bitmap_draw, bitmap_gather,
};

}  // namespace SAD_ISA
}  // namespace sad
