"""What PyTorch's promotion gives: see tests/torch/make_promotion.py."""

LETTERS = "bLISCUfdhH"  # one per dtype, as sampling.DTYPES
# a tensor of the row's dtype with: each dtype, each dtype 0-d, True, 2, 2.5
ADD = {
    "bool": "bLISCUfdhHbLISCUfdhHbLf",
    "int64": "LLLLLLfdhHLLLLLLfdhHLLf",
    "int32": "ILIIIIfdhHIIIIIIfdhHIIf",
    "int16": "SLISSSfdhHSSSSSSfdhHSSf",
    "int8": "CLISCSfdhHCCCCCCfdhHCCf",
    "uint8": "ULISSUfdhHUUUUUUfdhHUUf",
    "float32": "fffffffdfffffffffffffff",
    "float64": "ddddddddddddddddddddddd",
    "float16": "hhhhhhfdhfhhhhhhhhhhhhh",
    "bfloat16": "HHHHHHfdfHHHHHHHHHHHHHH",
}
DIV = {
    "bool": "fffffffdhHfffffffdhHfff",
    "int64": "fffffffdhHfffffffdhHfff",
    "int32": "fffffffdhHfffffffdhHfff",
    "int16": "fffffffdhHfffffffdhHfff",
    "int8": "fffffffdhHfffffffdhHfff",
    "uint8": "fffffffdhHfffffffdhHfff",
    "float32": "fffffffdfffffffffffffff",
    "float64": "ddddddddddddddddddddddd",
    "float16": "hhhhhhfdhfhhhhhhhhhhhhh",
    "bfloat16": "HHHHHHfdfHHHHHHHHHHHHHH",
}
