//! A plan as a file, `plan.jsonl`: a header, then each workload and its requests, a line each. It is written and read line
//! by line, so that a plan of a million requests takes no more memory than one of ten.

mod outline;
mod read;
mod write;

use std::fs;
use std::path::{Path, PathBuf};

use sagellm_core::PlanHeader;
use tempfile::TempPath;

use crate::PlanError;
pub use outline::Outline;
pub(crate) use read::{Read, ReadRequest};
pub use write::write;

/// A plan on disk, known to be good.
#[derive(Debug)]
pub struct PlanFile {
    place: Place,
    header: PlanHeader,
    sections: Vec<Section>,
}

#[derive(Debug)]
enum Place {
    /// Removed when dropped.
    Scratch(TempPath),
    Kept(PathBuf),
}

/// The lines of one workload.
#[derive(Debug)]
struct Section {
    /// Where its first line begins, in bytes from the beginning of the file.
    at: u64,
    outline: Outline,
}

impl PlanFile {
    /// Where it lies.
    pub fn path(&self) -> &Path {
        match &self.place {
            Place::Scratch(path) => path,
            Place::Kept(path) => path,
        }
    }

    /// What it was made with.
    pub fn header(&self) -> &PlanHeader {
        &self.header
    }

    /// Its workloads, in their order.
    pub fn outlines(&self) -> impl Iterator<Item = &Outline> {
        self.sections.iter().map(|section| &section.outline)
    }

    /// Puts the plan at `path`: one that was just written is moved there, another one is copied.
    ///
    /// # Errors
    /// [`PlanError::File`] when it cannot be written there.
    pub fn keep(&mut self, path: &Path) -> Result<(), PlanError> {
        let failed = |source| PlanError::File { path: path.to_owned(), action: "write", source };
        let same = || Some(fs::canonicalize(self.path()).ok()? == fs::canonicalize(path).ok()?);
        if same() == Some(true) {
            return Ok(());
        }
        // Renaming replaces the file at once; where that is not possible, across file systems, it is copied.
        match std::mem::replace(&mut self.place, Place::Kept(path.to_owned())) {
            Place::Scratch(scratch) => match scratch.persist(path) {
                Ok(()) => Ok(()),
                Err(error) => fs::copy(&error.path, path).map(drop).map_err(failed),
            },
            Place::Kept(old) => fs::copy(old, path).map(drop).map_err(failed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Overrides, Planner, builtin};
    use sagellm_core::{Exit, Request, UserError};
    use sagellm_model::Tokenizer;

    fn tokenizer() -> Tokenizer {
        let options = sagellm_model::OpenOptions::default();
        sagellm_model::open("synthetic:tiny", &options, &sagellm_core::NoProgress).unwrap().tokenizer
    }

    fn written(overrides: &Overrides, tokenizer: &Tokenizer, folder: &Path) -> PlanFile {
        let specs = builtin("m1").unwrap().into_iter().map(|spec| overrides.apply(spec).unwrap());
        let planners: Vec<_> = specs.map(|spec| Planner::new(&spec, tokenizer, 1024).unwrap()).collect();
        write(folder, &planners, tokenizer).unwrap()
    }

    #[test]
    fn what_was_written_is_read_back() {
        let (tokenizer, folder) = (tokenizer(), tempfile::tempdir().unwrap());
        let mut plan = written(&Overrides::default(), &tokenizer, folder.path());
        let path = folder.path().join("plan.jsonl");
        plan.keep(&path).unwrap();
        let read = PlanFile::open(&path).unwrap();
        assert_eq!(read.header(), plan.header());
        assert_eq!(read.outlines().collect::<Vec<_>>(), plan.outlines().collect::<Vec<_>>());
        for (nth, spec) in builtin("m1").unwrap().iter().enumerate() {
            let planner = Planner::new(spec, &tokenizer, 1024).unwrap();
            let plan = read.plan(nth, &tokenizer).unwrap();
            assert_eq!(plan.workload, *planner.workload());
            let requests: Vec<Request> = plan.requests.map(Result::unwrap).collect();
            assert_eq!(requests, planner.requests().map(Result::unwrap).collect::<Vec<_>>());
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn a_scratch_plan_goes_when_it_is_not_kept() {
        let (tokenizer, folder) = (tokenizer(), tempfile::tempdir().unwrap());
        drop(written(&Overrides::default(), &tokenizer, folder.path()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_hash_tells_plans_apart() {
        let (tokenizer, folder) = (tokenizer(), tempfile::tempdir().unwrap());
        let hashes = |seed| -> Vec<String> {
            let plan = written(&Overrides { seed: Some(seed), ..Overrides::default() }, &tokenizer, folder.path());
            plan.outlines().map(|outline| outline.hash.clone()).collect()
        };
        assert_eq!(hashes(1), hashes(1));
        assert!(hashes(1).iter().zip(hashes(2)).all(|(one, other)| *one != other));
    }

    #[test]
    fn the_warmups_in_plans_of_earlier_versions_are_passed_over() {
        let (tokenizer, folder) = (tokenizer(), tempfile::tempdir().unwrap());
        let path = folder.path().join("plan.jsonl");
        written(&Overrides::default(), &tokenizer, folder.path()).keep(&path).unwrap();
        let new = PlanFile::open(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let old: Vec<String> = text
            .lines()
            .flat_map(|line| {
                let warmup = r#"{"line":"warmup","id":5,"anything":[]}"#;
                [line].into_iter().chain(line.contains(r#""line":"workload""#).then_some(warmup)).map(str::to_owned)
            })
            .collect();
        fs::write(&path, old.join("\n") + "\n").unwrap();
        let old = PlanFile::open(&path).unwrap();
        assert_eq!(old.outlines().collect::<Vec<_>>(), new.outlines().collect::<Vec<_>>());
        assert_eq!(old.requests(1).unwrap().filter(Result::is_ok).count(), 3);
        fs::write(&path, text.replace(r#"{"line":"request""#, r#"{"line":"other""#)).unwrap();
        assert!(PlanFile::open(&path).is_err());
    }

    #[test]
    fn damage_is_named_by_its_line() {
        let (tokenizer, folder) = (tokenizer(), tempfile::tempdir().unwrap());
        let path = folder.path().join("plan.jsonl");
        written(&Overrides::default(), &tokenizer, folder.path()).keep(&path).unwrap();
        let good = fs::read_to_string(&path).unwrap();
        let damaged = |damage: &dyn Fn(&mut Vec<String>)| {
            let mut lines = good.lines().map(str::to_owned).collect();
            damage(&mut lines);
            fs::write(&path, lines.join("\n")).unwrap();
            let error = PlanFile::open(&path).unwrap_err();
            assert_eq!(error.exit(), Exit::Input);
            error.to_string().rsplit("plan.jsonl`").next().unwrap().to_owned()
        };
        // Lines: header, workload, five requests, workload, ...
        assert_eq!(damaged(&|lines| lines[3].truncate(40)), ", line 4: EOF while parsing a string, column 40");
        assert_eq!(damaged(&|lines| drop(lines.remove(0))), ", line 1: a header is expected here");
        assert_eq!(damaged(&|lines| lines.truncate(1)), ", line 1: the plan holds no workload");
        assert_eq!(
            damaged(&|lines| drop(lines.remove(5))),
            ", line 7: workload `short_input` states 5 requests, but 4 follow"
        );
        assert_eq!(damaged(&|lines| lines.swap(3, 4)), ", line 5: request 1 comes after request 2");
        assert_eq!(damaged(&|lines| lines.swap(1, 2)), ", line 2: a workload is expected before its requests");
        let later = |lines: &mut Vec<String>| lines[3] = lines[3].replace("\"offset_ns\":0", "\"offset_ns\":9");
        assert_eq!(damaged(&later), ", line 5: request 2 is due before request 1, which precedes it");
        let idle =
            |lines: &mut Vec<String>| lines[1] = lines[1].replace("\"max_concurrency\":1", "\"max_concurrency\":0");
        assert_eq!(damaged(&idle), ", line 2: `max_concurrency` is 0, so no request could ever be sent");
        for wrong in ["1e300", "-1.0"] {
            let endless = |lines: &mut Vec<String>| {
                lines[1] = lines[1].replace("\"duration_s\":null", &format!("\"duration_s\":{wrong}"));
            };
            let error = damaged(&endless);
            assert!(error.contains("line 2: ") && error.contains("from 0.001 to 1e7"), "{error}");
        }
        let rate = |lines: &mut Vec<String>| {
            lines[1] = lines[1].replace("\"immediate\"", "{\"poisson\":{\"rate\":-1.0}}");
        };
        let error = damaged(&rate);
        assert!(error.contains("line 2: ") && error.contains("requests per second"), "{error}");
        let version =
            |lines: &mut Vec<String>| lines[0] = lines[0].replace("\"schema_version\":1", "\"schema_version\":9");
        assert_eq!(damaged(&version), ", line 1: schema version 9, but this program reads 1");
    }
}
