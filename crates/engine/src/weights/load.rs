//! Packing all matrices of a model at once.
//!
//! The threads take parts of about a megabyte, and what has been packed of a file is given back to the system part by part:
//! so memory never holds much of a model twice, and no thread waits for another's large matrix.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use sagellm_core::Progress;
use sagellm_model::Checkpoint;

use super::{ComputeDtype, Format, Matrix, pack};
use crate::EngineError;
use crate::kernels::Arena;

/// Packed bytes that a thread takes at a time.
const PART: usize = 1 << 20;

/// How far around what is read the system may map a file as well (Linux: `fault_around_bytes`).
const AROUND: usize = 64 << 10;

/// One part of a matrix.
struct Job<'a> {
    name: &'a str,
    rows: Range<usize>,
    format: Format,
    out: &'a mut [u8],
}

/// Packs the matrices of `checkpoint` that `names` names, with `threads` threads: in `dtype`, or each as it is stored. Tells
/// `progress` of the packed bytes.
///
/// # Errors
/// When a tensor is none of two dimensions, or the system grants no memory.
pub(crate) fn load_matrices(
    checkpoint: &Checkpoint,
    names: &[String],
    dtype: Option<ComputeDtype>,
    threads: usize,
    progress: &dyn Progress,
) -> Result<HashMap<String, Matrix>, EngineError> {
    let arena = Arena::default();
    let mut matrices = HashMap::new();
    for name in names {
        if let Some((stored, shape)) = checkpoint.describe(name)
            && let [rows, columns] = shape[..]
        {
            let format = dtype.map_or(Format::of(stored), ComputeDtype::format);
            let matrix = Matrix::zeros(rows, columns, format, &arena).map_err(EngineError::WeightMemory)?;
            matrices.insert(name.clone(), matrix);
        }
    }
    let mut jobs = Vec::new();
    for (name, matrix) in &mut matrices {
        let (format, panels) = (matrix.format(), (PART / matrix.panel_bytes().max(1)).max(1));
        jobs.extend(matrix.parts(panels).map(|(rows, out)| Job { name, rows, format, out }));
    }
    jobs.sort_by(|a, b| (b.name, b.rows.start).cmp(&(a.name, a.rows.start)));
    progress.begin("loading weights", Some(jobs.iter().map(|job| job.out.len() as u64).sum()));
    let jobs = Mutex::new(jobs);
    let work = || -> Result<(), EngineError> {
        loop {
            let Some(job) = jobs.lock().unwrap_or_else(PoisonError::into_inner).pop() else { return Ok(()) };
            let tensor = checkpoint.rows(job.name, job.rows.clone())?;
            pack::panels(&tensor, job.format, job.out);
            // The system also gave what lies around the rows that were read, and of parts that were given back before.
            let around = AROUND / tensor.row_bytes().max(1) + 1;
            checkpoint.release(job.name, job.rows.start.saturating_sub(around)..job.rows.end + around);
            progress.advance(job.out.len() as u64);
        }
    };
    let done = std::thread::scope(|scope| {
        let workers: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        work()?;
        for worker in workers {
            match worker.join() {
                Ok(done) => done?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok::<_, EngineError>(())
    });
    progress.finish();
    done.map(|()| matrices)
}
