"""Arrays of voxels whatever holds them: image files, OME-Zarr levels, resampling, components."""
