//! What an adapter grants beyond WebGPU's guaranteed limits, as far as kernels use it.

use wgpu::{CooperativeMatrixProperties, CooperativeScalarType, Features};

use super::adapters::Adapter;
use super::matrix_tile;

/// What kernels may use. A device is opened with all that the adapter has; the self-test takes away what its driver gets
/// wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Grants {
    /// Numbers of 16 bits are stored by themselves, not as halves of words.
    pub native_halves: bool,
    /// Invocations of every subgroup, where that is always the same number.
    pub subgroup: Option<u32>,
    /// Products of small matrices of 16-bit numbers by the invocations of a subgroup together.
    pub matrix: Option<Matrix>,
}

/// Cooperative matrices: squares of 16-bit numbers whose products are added to squares of `f32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Matrix {
    /// Rows and columns: 8 or 16.
    pub size: usize,
    /// The most invocations that a subgroup may have.
    pub subgroup: usize,
}

impl Grants {
    /// What the adapter says that it has.
    pub fn of(adapter: &Adapter) -> Grants {
        let features = adapter.inner.features();
        let native_halves = features.contains(Features::SHADER_F16);
        let sizes = adapter.subgroups.filter(|_| features.contains(Features::SUBGROUP));
        let matrices = adapter.inner.cooperative_matrix_properties();
        let has_room = adapter.max_workgroup_bytes as usize >= matrix_tile::WORKGROUP_BYTES;
        let has_matrices = features.contains(Features::EXPERIMENTAL_COOPERATIVE_MATRIX) && native_halves && has_room;
        Grants {
            native_halves,
            subgroup: sizes.filter(|[least, most]| least == most).map(|[size, _]| size),
            matrix: sizes.filter(|_| has_matrices).and_then(|[_, most]| matrix(&matrices, most)),
        }
    }

    /// The features to ask a device for.
    pub fn features(self, adapter: &Adapter) -> Features {
        let matrices = Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
        let known = Features::PIPELINE_CACHE | Features::SHADER_F16 | Features::SUBGROUP;
        adapter.inner.features() & if self.matrix.is_some() { known | matrices } else { known }
    }
}

/// The largest matrices of the kind that kernels use.
fn matrix(known: &[CooperativeMatrixProperties], subgroup: u32) -> Option<Matrix> {
    let fits = |size: u32| {
        known.iter().any(|matrix| {
            [matrix.m_size, matrix.n_size, matrix.k_size] == [size; 3]
                && (matrix.ab_type, matrix.cr_type) == (CooperativeScalarType::F16, CooperativeScalarType::F32)
                && !matrix.saturating_accumulation
        })
    };
    let size = [16, 8].into_iter().find(|size| fits(*size))?;
    Some(Matrix { size: size as usize, subgroup: subgroup as usize })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_matrices_of_the_right_kind_are_taken() {
        let known = |sizes: [u32; 3], ab_type, cr_type| CooperativeMatrixProperties {
            m_size: sizes[0],
            n_size: sizes[1],
            k_size: sizes[2],
            ab_type,
            cr_type,
            saturating_accumulation: false,
        };
        let (f16, f32) = (CooperativeScalarType::F16, CooperativeScalarType::F32);
        // Metal.
        let small = [known([8; 3], f32, f32), known([8; 3], f16, f16), known([8; 3], f16, f32)];
        assert_eq!(matrix(&small, 32), Some(Matrix { size: 8, subgroup: 32 }));
        // NVIDIA and AMD.
        let large = [known([16; 3], f16, f16), known([16; 3], f16, f32), known([8; 3], f16, f32)];
        assert_eq!(matrix(&large, 64), Some(Matrix { size: 16, subgroup: 64 }));
        // Neither squares nor sums of 32 bits.
        assert_eq!(matrix(&[known([16, 8, 16], f16, f32), known([16; 3], f16, f16)], 32), None);
        assert_eq!(matrix(&[], 32), None);
    }
}
