//! Activations in 8 bits, for products with quantized weights.
//!
//! Every group of 32 has a scale of its own, so a row's numbers do not depend on its company. A minimum or offset of the
//! weights is multiplied with the sum of the activations; formats with groups of 16 need it for each half.

use super::simd::Simd;

/// Activations that share a scale; also the group of most weight formats.
pub(crate) const GROUP: usize = 32;
/// Activations whose sum is kept.
pub(super) const HALF: usize = GROUP / 2;

/// The rows of one product, quantized. Kept between steps so that a step allocates nothing once it has reached its size.
#[derive(Default)]
pub(crate) struct Quantized {
    values: Vec<i8>,
    scales: Vec<f32>,
    sums: Vec<f32>,
    groups: usize,
}

/// Where the quantized rows lie.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    pub(super) values: *const i8,
    pub(super) scales: *const f32,
    pub(super) sums: *const f32,
    /// Groups of a row.
    pub(super) groups: usize,
}

impl Rows {
    /// Of a product that needs none.
    pub(super) const NONE: Self =
        Self { values: std::ptr::null(), scales: std::ptr::null(), sums: std::ptr::null(), groups: 0 };

    /// The row `row`.
    ///
    /// # Safety
    /// There must be such a row.
    #[inline(always)]
    pub(super) unsafe fn row(self, row: usize) -> Self {
        // SAFETY: the row exists.
        unsafe {
            Self {
                values: self.values.add(row * self.groups * GROUP),
                scales: self.scales.add(row * self.groups),
                sums: self.sums.add(row * self.groups * 2),
                groups: self.groups,
            }
        }
    }
}

/// The parts of one row to be written.
pub(super) struct Target<'a> {
    pub(super) values: &'a mut [i8],
    pub(super) scales: &'a mut [f32],
    pub(super) sums: &'a mut [f32],
}

impl Quantized {
    /// Makes room for `rows` rows of `k` numbers.
    pub(super) fn resize(&mut self, rows: usize, k: usize) {
        self.groups = k.div_ceil(GROUP);
        let groups = rows * self.groups;
        if self.scales.len() < groups {
            self.values.resize(groups * GROUP, 0);
            self.scales.resize(groups, 0.0);
            self.sums.resize(groups * 2, 0.0);
        }
    }

    /// Where the rows lie.
    pub(super) fn rows(&self) -> Rows {
        Rows {
            values: self.values.as_ptr(),
            scales: self.scales.as_ptr(),
            sums: self.sums.as_ptr(),
            groups: self.groups,
        }
    }

    /// Pointers to the start of values, scales and sums, for tasks that write different rows.
    pub(super) fn starts(&mut self) -> (*mut i8, *mut f32, *mut f32, usize) {
        (self.values.as_mut_ptr(), self.scales.as_mut_ptr(), self.sums.as_mut_ptr(), self.groups)
    }
}

/// Quantizes one row; what is missing in the last group counts as zero.
///
/// # Safety
/// The processor must have `S`; the target has `x.len()` rounded up to whole groups.
#[inline(always)]
pub(super) unsafe fn quantize<S: Simd>(x: &[f32], target: Target<'_>) {
    let (groups, rest) = x.as_chunks::<GROUP>();
    let mut last = [0.0; GROUP];
    last[..rest.len()].copy_from_slice(rest);
    let rest = (!rest.is_empty()).then_some(&last);
    let values = target.values.as_chunks_mut::<GROUP>().0.iter_mut();
    let sums = target.sums.as_chunks_mut::<2>().0.iter_mut();
    for (((group, values), scale), sums) in groups.iter().chain(rest).zip(values).zip(target.scales).zip(sums) {
        // SAFETY: loads stay within the group; the caller has the instruction set.
        unsafe {
            let mut top = S::zero();
            for i in (0..GROUP).step_by(S::LANES) {
                let number = S::load(group.as_ptr().add(i));
                top = S::max(top, S::max(number, S::sub(S::zero(), number)));
            }
            let top = S::reduce_max(top);
            *scale = top / 127.0;
            let inverse = if top > 0.0 { 127.0 / top } else { 0.0 };
            // Adding 1.5 · 2^23 rounds to nearest and leaves the integer in the low bits.
            const MAGIC: f32 = 12_582_912.0;
            let mut total = [0i32; 2];
            for (half, total) in total.iter_mut().enumerate() {
                for i in half * HALF..(half + 1) * HALF {
                    let bits = (group[i] * inverse + MAGIC).to_bits();
                    values[i] = (bits as u8).cast_signed();
                    *total += i32::from(values[i]);
                }
            }
            *sums = total.map(|total| *scale * total as f32);
        }
    }
}
