"""Bias field correction of MR images by N4 (Tustison et al., 2010, IEEE Transactions on Medical Imaging 29), with SimpleITK."""

import numpy as np

from common.errors import UserError
from data_prep.grid.resampling import interpolate_label
from data_prep.scans.itk import load_sitk, to_image
from data_prep.scans.volume import Volume

SPACING_MM = 4.0  # at which the field, which is smooth, is estimated
ITERATIONS = (50, 50, 50, 50)  # at most, of each level of the fit


def correct_bias_field(volume: Volume, mask: np.ndarray) -> np.ndarray:
    """Correct the bias field of an image; one thread, so that equal inputs give equal bits.

    Args:
        volume: MR image without negative values.
        mask: (i, j, k) bool, tissue of which the field is estimated. Outside, it keeps to the range that it has inside.

    Returns:
        (i, j, k) float32.

    Raises:
        MissingPackage: SimpleITK is not installed.
        UserError: the field cannot be estimated.
    """
    sitk = load_sitk("--bias_correction")
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    small = volume.at_spacing(SPACING_MM)
    matrix = np.linalg.solve(volume.affine, small.affine)
    region = interpolate_label(mask.astype(np.uint8), matrix, small.grid.shape, "nearest", 0)
    region[small.array <= 0] = 0
    corrector = sitk.N4BiasFieldCorrectionImageFilter()
    corrector.SetMaximumNumberOfIterations(ITERATIONS)
    try:
        corrector.Execute(to_image(sitk, small), to_image(sitk, Volume(region, small.affine)))
        field = corrector.GetLogBiasFieldAsImage(to_image(sitk, Volume(mask.astype(np.uint8), volume.affine)))
    except RuntimeError as error:
        raise UserError(f"the bias field cannot be estimated: {' '.join(str(error).split())[-200:]}") from None
    log_field = sitk.GetArrayFromImage(field).transpose(2, 1, 0).astype(np.float32)
    log_field = np.clip(log_field, log_field[mask].min(), log_field[mask].max())
    corrected: np.ndarray = volume.array.astype(np.float32) / np.exp(log_field)
    return corrected
