//! Tensors by name, whatever file they lie in.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::synthetic::Random;
use crate::weights::{Role, Weight};
use crate::{Bytes, Config, ModelError, weights};

/// Element types that weights are stored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dtype {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of a single.
    Bf16,
    /// GGUF blocks of 32: f16 scale, 32 × i8.
    Q8_0,
    /// GGUF blocks of 32: f16 scale, 32 × 4 bit.
    Q4_0,
    /// GGUF blocks of 32: f16 scale, f16 minimum, 32 × 4 bit.
    Q4_1,
    /// GGUF blocks of 32: f16 scale, 32 × 5 bit.
    Q5_0,
    /// GGUF blocks of 32: f16 scale, f16 minimum, 32 × 5 bit.
    Q5_1,
    /// GGUF super-blocks of 256 with 6-bit scales and minima, 4 bit.
    Q4K,
    /// GGUF super-blocks of 256 with 6-bit scales and minima, 5 bit.
    Q5K,
    /// GGUF super-blocks of 256 with 8-bit scales, 6 bit.
    Q6K,
}

/// One tensor in row-major order.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Type of the elements.
    pub dtype: Dtype,
    /// Sizes, slowest first.
    pub shape: Vec<usize>,
    /// The elements in `dtype`, little-endian.
    pub data: Bytes,
}

impl Tensor {
    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes of one row, that is, of the last dimension.
    pub fn row_bytes(&self) -> usize {
        let row = self.shape.last().copied().unwrap_or(1);
        row / self.dtype.block_elements() * self.dtype.block_bytes()
    }

    /// All elements as numbers, whatever the type.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut numbers = vec![0.0; self.elements()];
        self.dtype.dequantize(&self.data, &mut numbers);
        numbers
    }
}

/// The weights of a model: exactly the tensors that its config calls for.
///
/// A tensor is made when it is asked for. What can be used as it lies in a mapped file is not copied.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    path: PathBuf,
    entries: BTreeMap<String, Entry>,
    dtype: Dtype,
    parameters: u64,
}

#[derive(Clone, Debug)]
enum Entry {
    Stored(Stored, Layout),
    Random(Random),
}

impl Entry {
    fn describe(&self) -> (Dtype, Vec<usize>) {
        match self {
            Self::Stored(stored, layout) => (stored.dtype, stored.shape_in(*layout)),
            Self::Random(random) => (Dtype::F32, random.shape().to_vec()),
        }
    }

    fn rows(&self, rows: Range<usize>) -> Tensor {
        match self {
            Self::Stored(stored, layout) => stored.rows(*layout, rows),
            Self::Random(random) => random.rows(rows),
        }
    }
}

impl Checkpoint {
    /// The tensor `name`. Names and orientation are the same for every kind of file: those of Hugging Face without a leading
    /// `model.` or `transformer.`, linear weights as `[out, in]`, query and key rows for rotate-half rotary positions.
    ///
    /// # Errors
    /// When the config does not call for such a tensor.
    pub fn tensor(&self, name: &str) -> Result<Tensor, ModelError> {
        let entry = self.entry(name)?;
        let (_, shape) = entry.describe();
        Ok(entry.rows(0..shape.first().copied().unwrap_or(1)))
    }

    /// A part of the tensor `name`: those of its rows (of its first dimension) that there are.
    ///
    /// # Errors
    /// When the config does not call for such a tensor.
    pub fn rows(&self, name: &str, rows: Range<usize>) -> Result<Tensor, ModelError> {
        let entry = self.entry(name)?;
        let (_, shape) = entry.describe();
        let all = shape.first().copied().unwrap_or(1);
        Ok(entry.rows(rows.start.min(all)..rows.end.min(all)))
    }

    /// Says that these rows of the tensor `name` will not be asked for again soon, so that they need not count as memory in
    /// use.
    pub fn release(&self, name: &str, rows: Range<usize>) {
        if let Some(Entry::Stored(stored, layout)) = self.entries.get(name) {
            stored.release(*layout, rows);
        }
    }

    /// Type and shape of the tensor `name`, without making it.
    pub fn describe(&self, name: &str) -> Option<(Dtype, Vec<usize>)> {
        self.entries.get(name).map(Entry::describe)
    }

    fn entry(&self, name: &str) -> Result<&Entry, ModelError> {
        self.entries.get(name).ok_or_else(|| ModelError::tensor(&self.path, name, "is not part of this model"))
    }

    /// Whether there is a tensor `name`.
    pub fn contains(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// All names, sorted.
    pub fn names(&self) -> Vec<String> {
        self.entries.keys().cloned().collect()
    }

    /// The type that most elements are stored in.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Number of elements of all tensors; a head that is the embedding counts once.
    pub fn parameters(&self) -> u64 {
        self.parameters
    }

    /// Picks from `found` what `config` calls for. `locate` says under which names a tensor may lie and how it is stored.
    pub(crate) fn assemble(
        path: &Path,
        config: &Config,
        mut found: HashMap<String, Found>,
        locate: impl Fn(&Weight) -> (Vec<String>, Layout),
    ) -> Result<Self, ModelError> {
        let mut entries = BTreeMap::new();
        let mut elements_of = BTreeMap::<Dtype, u64>::new();
        for weight in weights::weights(config) {
            let (names, layout) = locate(&weight);
            let Some((name, stored)) = names.iter().find_map(|name| Some((name, found.remove(name)?))) else {
                let name = names.first().unwrap_or(&weight.name);
                return Err(ModelError::tensor(path, name, "is missing"));
            };
            let stored = stored.map_err(|dtype| ModelError::dtype(path, name, &dtype))?;
            let shape = stored.shape_in(layout);
            if shape != weight.shape {
                let what = format!("has shape {shape:?} where the config calls for {:?}", weight.shape);
                return Err(ModelError::tensor(path, name, what));
            }
            *elements_of.entry(stored.dtype).or_default() += weight.elements();
            entries.insert(weight.name, Entry::Stored(stored, layout));
        }
        let parameters = elements_of.values().sum();
        let dtype =
            elements_of.into_iter().max_by_key(|(_, elements)| *elements).map_or(Dtype::F32, |(dtype, _)| dtype);
        Ok(Self { path: path.into(), entries, dtype, parameters })
    }

    /// Random weights of the shapes that `config` calls for.
    pub(crate) fn random(name: &str, config: &Config, deviation: f32) -> Self {
        let weights = weights::weights(config);
        let parameters = weights.iter().map(Weight::elements).sum();
        let entries = weights
            .into_iter()
            .map(|weight| (weight.name.clone(), Entry::Random(Random::new(&weight, deviation))))
            .collect();
        Self { path: name.into(), entries, dtype: Dtype::F32, parameters }
    }
}

impl Weight {
    fn elements(&self) -> u64 {
        self.shape.iter().map(|&size| size as u64).product()
    }
}

/// A tensor as a file reader met it: stored, or of a type (by name) that is not supported.
pub(crate) type Found = Result<Stored, String>;

/// Where the elements of a tensor lie.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    dtype: Dtype,
    shape: Vec<usize>,
    /// Steps between neighbours in elements, slowest first; `None` when row-major without gaps.
    strides: Option<Vec<usize>>,
    data: Bytes,
}

/// How a file's tensor differs from ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// It does not.
    AsIs,
    /// A matrix stored as `[in, out]` (GPT-2's `Conv1D`).
    Transposed,
    /// Query or key rows of heads of `head_dim`, stored so that the two rows of a rotary pair are neighbours (llama.cpp's
    /// `llama`), where we have the first of every pair in the upper half of a head and the second in the lower.
    RopePairs {
        /// Rows per head.
        head_dim: usize,
    },
}

impl Layout {
    /// The layout of a tensor in a Hugging Face file.
    pub(crate) fn of_hugging_face(config: &Config, weight: &Weight) -> Self {
        let conv1d = config.architecture == crate::Architecture::Gpt2;
        if conv1d && weight.role == Role::Linear && weight.name != "lm_head.weight" {
            Self::Transposed
        } else {
            Self::AsIs
        }
    }
}

impl Stored {
    /// Row-major elements; `None` when `data` is not exactly as long as they are.
    pub(crate) fn dense(dtype: Dtype, shape: Vec<usize>, data: Bytes) -> Option<Self> {
        let elements = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size))?;
        let rows_are_whole_blocks = shape.last().copied().unwrap_or(1).is_multiple_of(dtype.block_elements());
        (rows_are_whole_blocks && dtype.bytes(elements)? == data.len()).then_some(Self {
            dtype,
            shape,
            strides: None,
            data,
        })
    }

    /// Elements at `strides`; `None` when one lies outside `data`, or when there are more of them than `data` holds, so that
    /// a small file cannot ask for a large tensor.
    pub(crate) fn strided(dtype: Dtype, shape: Vec<usize>, strides: Vec<usize>, data: Bytes) -> Option<Self> {
        if dtype.block_elements() != 1 || shape.len() != strides.len() {
            return None;
        }
        let held = data.len() / dtype.block_bytes();
        let elements = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size))?;
        if elements > held {
            return None;
        }
        if elements > 0 {
            let last = shape
                .iter()
                .zip(&strides)
                .try_fold(0_usize, |last, (&size, &stride)| last.checked_add((size - 1).checked_mul(stride)?))?;
            if last >= held {
                return None;
            }
        }
        let contiguous = || {
            let mut dimensions = shape.iter().zip(&strides).rev();
            dimensions
                .try_fold(1_usize, |expected, (&size, &stride)| {
                    (size == 1 || stride == expected).then_some(expected * size)
                })
                .is_some()
        };
        if elements == 0 || contiguous() {
            let bytes = elements * dtype.block_bytes();
            return Some(Self { dtype, shape, strides: None, data: data.part(0..bytes)? });
        }
        Some(Self { dtype, shape, strides: Some(strides), data })
    }

    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub(crate) fn to_f32(&self) -> Vec<f32> {
        self.rows(Layout::AsIs, 0..self.shape.first().copied().unwrap_or(1)).to_f32()
    }

    fn shape_in(&self, layout: Layout) -> Vec<usize> {
        let mut shape = self.shape.clone();
        if layout == Layout::Transposed {
            shape.reverse();
        }
        shape
    }

    /// The rows `rows`, which are there, as they are seen in `layout`.
    fn rows(&self, layout: Layout, rows: Range<usize>) -> Tensor {
        let mut shape = self.shape_in(layout);
        let all = shape.first().copied().unwrap_or(1);
        if let Some(first) = shape.first_mut() {
            *first = rows.len();
        }
        let data = match (layout, self.strides_in(layout)) {
            (Layout::RopePairs { head_dim }, _) => {
                let mut data = Vec::new();
                for row in rows {
                    let (head, at) = (row / head_dim, row % head_dim);
                    let (half, pair) = (at / (head_dim / 2), at % (head_dim / 2));
                    let stored = head * head_dim + 2 * pair + half;
                    data.extend_from_slice(&self.rows(Layout::AsIs, stored..stored + 1).data);
                }
                data.into()
            }
            (_, Some(strides)) => {
                let width = self.dtype.block_bytes();
                let start = rows.start * strides.first().copied().unwrap_or(0) * width;
                gather(self.data.get(start..).unwrap_or_default(), width, &shape, &strides).into()
            }
            (_, None) => self.data.part(self.row_bytes(all, rows)).unwrap_or_else(|| self.data.clone()),
        };
        Tensor { dtype: self.dtype, shape, data }
    }

    /// Where the rows `rows` of `all` lie in `data`, when they lie one after another.
    fn row_bytes(&self, all: usize, rows: Range<usize>) -> Range<usize> {
        // All of a vector may be one block.
        if rows.len() == all {
            return 0..self.data.len();
        }
        let bytes = self.data.len() / all.max(1);
        rows.start * bytes..rows.end * bytes
    }

    /// Gives back the memory of the rows `rows`, as they are seen in `layout`.
    fn release(&self, layout: Layout, rows: Range<usize>) {
        let all = self.shape_in(layout).first().copied().unwrap_or(1);
        if self.strides_in(layout).is_none() {
            if let Some(part) = self.data.part(self.row_bytes(all, rows.start.min(all)..rows.end.min(all))) {
                part.release();
            }
        } else if rows.end >= all {
            // Every row lies all over the tensor.
            self.data.release();
        }
    }

    /// Steps between neighbours as they are seen in `layout`; `None` when row-major without gaps.
    fn strides_in(&self, layout: Layout) -> Option<Vec<usize>> {
        if layout != Layout::Transposed {
            return self.strides.clone();
        }
        let strides = self.strides.clone().unwrap_or_else(|| row_major_strides(&self.shape));
        Some(strides.into_iter().rev().collect())
    }
}

fn row_major_strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for at in (1..shape.len()).rev() {
        strides[at - 1] = strides[at] * shape[at];
    }
    strides
}

/// Copies elements of `width` bytes from `strides` into row-major order.
fn gather(data: &[u8], width: usize, shape: &[usize], strides: &[usize]) -> Vec<u8> {
    /// Side of the square in which a matrix is copied, so that both its rows and its columns stay in the cache.
    const TILE: usize = 32;
    let (outer, inner) = shape.split_at(shape.len().saturating_sub(2));
    let (outer_strides, inner_strides) = strides.split_at(outer.len());
    let (rows, columns, row_stride, column_stride) = match (inner, inner_strides) {
        (&[rows, columns], &[row_stride, column_stride]) => (rows, columns, row_stride, column_stride),
        (&[columns], &[column_stride]) => (1, columns, 0, column_stride),
        _ => (1, 1, 0, 0),
    };
    let mut out = vec![0; shape.iter().product::<usize>() * width];
    for (matrix, out) in out.chunks_exact_mut((rows * columns * width).max(1)).enumerate() {
        let mut rest = matrix;
        let mut start = 0;
        for (&size, &stride) in outer.iter().zip(outer_strides).rev() {
            start += rest % size * stride;
            rest /= size;
        }
        for tile_row in (0..rows).step_by(TILE) {
            for tile_column in (0..columns).step_by(TILE) {
                for row in tile_row..(tile_row + TILE).min(rows) {
                    for column in tile_column..(tile_column + TILE).min(columns) {
                        let from = (start + row * row_stride + column * column_stride) * width;
                        let to = (row * columns + column) * width;
                        out[to..to + width].copy_from_slice(&data[from..from + width]);
                    }
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize) -> Bytes {
        Bytes::from((0..count).map(|number| number as f32).collect::<Vec<_>>())
    }

    fn read(shape: &[usize], strides: &[usize], layout: Layout) -> Option<(Vec<usize>, Vec<f32>)> {
        let stored = Stored::strided(Dtype::F32, shape.to_vec(), strides.to_vec(), numbers(6))?;
        let all = stored.shape_in(layout).first().copied().unwrap_or(1);
        let tensor = stored.rows(layout, 0..all);
        // Row by row it is the same.
        let rows: Vec<f32> = (0..all).flat_map(|row| stored.rows(layout, row..row + 1).to_f32()).collect();
        assert_eq!(rows, tensor.to_f32());
        Some((tensor.shape.clone(), rows))
    }

    #[test]
    fn strides_are_followed() {
        let ordered = vec![0., 1., 2., 3., 4., 5.];
        let crossed = vec![0., 3., 1., 4., 2., 5.];
        assert_eq!(read(&[2, 3], &[3, 1], Layout::AsIs), Some((vec![2, 3], ordered.clone())));
        assert_eq!(read(&[3, 2], &[1, 3], Layout::AsIs), Some((vec![3, 2], crossed.clone())));
        assert_eq!(read(&[2, 3], &[3, 1], Layout::Transposed), Some((vec![3, 2], crossed.clone())));
        assert_eq!(read(&[3, 2], &[1, 3], Layout::Transposed), Some((vec![2, 3], ordered)));
        assert_eq!(read(&[1, 3, 2], &[9, 1, 3], Layout::AsIs), Some((vec![1, 3, 2], crossed)));
        assert_eq!(read(&[2, 1, 2], &[1, 0, 3], Layout::AsIs), Some((vec![2, 1, 2], vec![0., 3., 1., 4.])));
        assert_eq!(read(&[3], &[2], Layout::AsIs), Some((vec![3], vec![0., 2., 4.])));
        assert_eq!(read(&[], &[], Layout::AsIs), Some((vec![], vec![0.])));
    }

    #[test]
    fn strides_that_lead_outside_are_refused() {
        assert_eq!(read(&[2, 3], &[4, 1], Layout::AsIs), None);
        assert_eq!(read(&[2, 3], &[usize::MAX, 1], Layout::AsIs), None);
        assert_eq!(read(&[7], &[0], Layout::AsIs), None, "more elements than are stored");
        assert_eq!(read(&[usize::MAX, 2], &[0, 0], Layout::AsIs), None);
        assert_eq!(read(&[0, usize::MAX, 2], &[2, 2, 1], Layout::AsIs).map(|(_, data)| data), Some(vec![]));
    }

    #[test]
    fn data_must_be_as_long_as_the_shape_says() {
        assert!(Stored::dense(Dtype::F32, vec![2, 3], numbers(6)).is_some());
        assert!(Stored::dense(Dtype::F32, vec![2, 2], numbers(6)).is_none());
        assert!(Stored::dense(Dtype::F32, vec![usize::MAX, 2], numbers(6)).is_none());
        assert!(Stored::dense(Dtype::Q8_0, vec![2, 16], vec![0; 34].into()).is_none(), "a row is half a block");
    }
}
