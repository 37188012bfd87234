// The double versions of matmul and the convolutions: the same text, two lanes to a vector.
#define DOUBLE
#include "gemm.c"
#include "matmul.c"
#include "image.c"
#include "depthwise.c"
#include "conv2d.c"
