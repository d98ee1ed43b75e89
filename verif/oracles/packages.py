"""The formats as other packages know them: ml_dtypes and gfloat."""

import ml_dtypes
from gfloat.formats import format_info_bfloat16, format_info_ocp_e4m3, format_info_ocp_e5m2

from tegula.formats import BF16, E3M4, E4M3, E4M3FN, E5M2

__all__ = ["GFLOAT", "ML_DTYPES"]

ML_DTYPES = {
    BF16: ml_dtypes.bfloat16,
    E4M3FN: ml_dtypes.float8_e4m3fn,
    E5M2: ml_dtypes.float8_e5m2,
    E4M3: ml_dtypes.float8_e4m3,
    E3M4: ml_dtypes.float8_e3m4,
}
"""Types of ml_dtypes."""

GFLOAT = {BF16: format_info_bfloat16, E4M3FN: format_info_ocp_e4m3, E5M2: format_info_ocp_e5m2}
"""Descriptions of gfloat."""
