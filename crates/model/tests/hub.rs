//! Models by name, from a local server that speaks the hub's paths.

mod common;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use common::hub::{COMMIT, Fault, Hub};
use common::reference;
use sagellm_core::{Exit, NoProgress, Progress, UserError};
use sagellm_model::{HubOptions, Model, ModelError, OpenOptions, open_tokenizer};

const WEIGHTS: &str = "pytorch_model.bin";

fn options(cache: &Path, endpoint: &str) -> OpenOptions {
    OpenOptions {
        hub: HubOptions {
            cache: cache.into(),
            endpoint: endpoint.into(),
            token: None,
            offline: false,
            user_agent: "sagellm-benchmark/test".into(),
        },
    }
}

fn open(spec: &str, options: &OpenOptions) -> Result<Model, ModelError> {
    sagellm_model::open(spec, options, &NoProgress)
}

/// A hub with `gpt2` (safetensors) and `sshleifer/tiny-gpt2` (a pickle with an old tokenizer).
fn hub(fault: Fault) -> Hub {
    Hub::start(&[("gpt2", &reference("gpt2")), ("sshleifer/tiny-gpt2", &reference("gpt2-bin"))], fault, None)
}

#[test]
fn models_come_by_name_and_stay_in_the_cache() {
    let cache = tempfile::tempdir().unwrap();
    let hub = hub(Fault::None);
    let online = options(cache.path(), &hub.address);
    for name in ["gpt2", "sshleifer/tiny-gpt2"] {
        let model = open(name, &online).unwrap();
        assert_eq!(model.info.name, name);
        assert_eq!(model.config.vocab_size, 331);
    }
    let seen = hub.seen();
    assert!(seen.iter().all(|request| request.headers["user-agent"] == "sagellm-benchmark/test"));
    assert!(!seen.iter().any(|request| request.path.ends_with("expected.json")), "only what is needed is fetched");
    let requests = seen.len();
    open("gpt2", &online).unwrap();
    assert_eq!(hub.seen().len(), requests, "a model in the cache needs no request");
    drop(hub);

    let mut offline = options(cache.path(), "http://127.0.0.1:9");
    offline.hub.offline = true;
    for name in ["gpt2", "sshleifer/tiny-gpt2"] {
        open(name, &offline).unwrap();
    }
    let error = open("facebook/opt-125m", &offline).unwrap_err();
    assert!(error.to_string().starts_with("Model path invalid"), "{error}");
    assert!(error.to_string().contains("HF_HUB_OFFLINE"), "{error}");
}

#[test]
fn the_cache_is_laid_out_as_huggingface_hub_does() {
    let cache = tempfile::tempdir().unwrap();
    let hub = hub(Fault::None);
    open("sshleifer/tiny-gpt2", &options(cache.path(), &hub.address)).unwrap();
    let repository = cache.path().join("models--sshleifer--tiny-gpt2");
    assert_eq!(fs::read_to_string(repository.join("refs/main")).unwrap(), COMMIT);
    let file = repository.join("snapshots").join(COMMIT).join(WEIGHTS);
    assert_eq!(fs::read(&file).unwrap(), fs::read(reference("gpt2-bin").join(WEIGHTS)).unwrap());
    #[cfg(unix)]
    assert!(fs::read_link(&file).unwrap().starts_with("../../blobs"));
    for blob in fs::read_dir(repository.join("blobs")).unwrap() {
        assert!(!blob.unwrap().file_name().to_string_lossy().ends_with(".incomplete"));
    }
}

#[test]
fn shards_come_by_their_index() {
    let cache = tempfile::tempdir().unwrap();
    let hub = Hub::start(&[("org/llama", &reference("llama-sharded"))], Fault::None, None);
    open("org/llama", &options(cache.path(), &hub.address)).unwrap();
}

#[test]
fn a_broken_download_goes_on_where_it_ended() {
    let cache = tempfile::tempdir().unwrap();
    let hub = hub(Fault::CutOnce(WEIGHTS, 100_000));
    open("sshleifer/tiny-gpt2", &options(cache.path(), &hub.address)).unwrap();
    let ranges: Vec<_> = hub
        .seen()
        .into_iter()
        .filter(|request| request.method == "GET" && request.path.ends_with(WEIGHTS))
        .map(|request| request.headers.get("range").cloned())
        .collect();
    assert_eq!(ranges, [None, Some("bytes=100000-".into())]);
}

#[test]
fn a_part_left_by_a_former_run_is_used() {
    let cache = tempfile::tempdir().unwrap();
    let content = fs::read(reference("gpt2-bin").join(WEIGHTS)).unwrap();
    let tag: String =
        sha2::Digest::finalize(sha2::Digest::chain_update(<sha2::Sha256 as sha2::Digest>::new(), &content))
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
    let blobs = cache.path().join("models--sshleifer--tiny-gpt2/blobs");
    fs::create_dir_all(&blobs).unwrap();
    fs::write(blobs.join(format!("{tag}.incomplete")), &content[..5000]).unwrap();
    let hub = hub(Fault::None);
    open("sshleifer/tiny-gpt2", &options(cache.path(), &hub.address)).unwrap();
    assert!(hub.seen().iter().any(|request| request.headers.get("range").is_some_and(|range| range == "bytes=5000-")));
}

#[test]
fn a_hub_without_ranges_is_asked_for_all_of_it_again() {
    let cache = tempfile::tempdir().unwrap();
    let hub = hub(Fault::NoRanges(WEIGHTS, 100_000));
    open("sshleifer/tiny-gpt2", &options(cache.path(), &hub.address)).unwrap();
}

#[test]
fn a_file_of_the_wrong_length_is_an_error() {
    let cache = tempfile::tempdir().unwrap();
    let hub = hub(Fault::Short(WEIGHTS));
    let error = open("sshleifer/tiny-gpt2", &options(cache.path(), &hub.address)).unwrap_err();
    assert!(error.to_string().contains(WEIGHTS), "{error}");
    assert!(!cache.path().join("models--sshleifer--tiny-gpt2/refs/main").exists());
}

#[test]
fn an_altered_file_is_found_by_its_hash_and_not_kept() {
    let cache = tempfile::tempdir().unwrap();
    let hub = hub(Fault::Altered(WEIGHTS));
    let error = open("sshleifer/tiny-gpt2", &options(cache.path(), &hub.address)).unwrap_err();
    assert!(error.to_string().contains("SHA-256"), "{error}");
    for blob in fs::read_dir(cache.path().join("models--sshleifer--tiny-gpt2/blobs")).unwrap() {
        assert!(blob.unwrap().metadata().unwrap().len() < 10_000, "the weights were kept");
    }
}

#[test]
fn an_unknown_name_is_an_invalid_path() {
    let cache = tempfile::tempdir().unwrap();
    let hub = hub(Fault::None);
    let error = open("gtp2", &options(cache.path(), &hub.address)).unwrap_err();
    assert!(error.to_string().starts_with("Model path invalid: `gtp2`"), "{error}");
    assert_eq!(error.exit(), Exit::Input);
    assert!(error.hint().unwrap().contains("sshleifer/tiny-gpt2"));
    assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn a_closed_model_asks_for_a_token() {
    let cache = tempfile::tempdir().unwrap();
    let hub = hub(Fault::Token("hf_right"));
    let mut options = options(cache.path(), &hub.address);
    let error = open("gpt2", &options).unwrap_err();
    assert!(error.to_string().contains("401"), "{error}");
    assert!(error.hint().unwrap().contains("HF_TOKEN"));

    options.hub.token = Some("hf_wrong".into());
    let error = open("gpt2", &options).unwrap_err();
    assert!(!format!("{error} {error:?} {:?}", error.hint()).contains("hf_wrong"));

    options.hub.token = Some("hf_right".into());
    open("gpt2", &options).unwrap();
}

#[test]
fn the_token_is_not_sent_to_another_host() {
    let cache = tempfile::tempdir().unwrap();
    let models = [("gpt2", &*reference("gpt2"))];
    let cdn = Hub::start(&models, Fault::None, None);
    let hub = Hub::start(&models, Fault::None, Some(&cdn));
    let mut options = options(cache.path(), &hub.address);
    options.hub.token = Some("hf_secret".into());
    open("gpt2", &options).unwrap();
    assert!(hub.seen().iter().all(|request| request.headers["authorization"] == "Bearer hf_secret"));
    assert!(!cdn.seen().is_empty());
    assert!(cdn.seen().iter().all(|request| !request.headers.contains_key("authorization")));
}

#[test]
fn refusals_say_what_to_do() {
    let cache = tempfile::tempdir().unwrap();
    for (status, words, hint) in [(403, "403", "terms"), (429, "429", "later"), (503, "503", "later")] {
        let hub = hub(Fault::Status(status));
        let error = open("gpt2", &options(cache.path(), &hub.address)).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.hint().unwrap().contains(hint), "{error:?}");
    }
    let nobody = options(cache.path(), "http://127.0.0.1:9");
    let error = open("gpt2", &nobody).unwrap_err();
    assert!(error.to_string().contains("http://127.0.0.1:9"), "{error}");
    let nonsense = options(cache.path(), "no address");
    assert!(open("gpt2", &nonsense).is_err());
}

#[test]
fn an_unsupported_model_is_refused_before_its_weights_are_fetched() {
    let cache = tempfile::tempdir().unwrap();
    let folder = common::copy_of("gpt2");
    fs::write(folder.path().join("config.json"), r#"{"model_type":"mamba"}"#).unwrap();
    let hub = Hub::start(&[("org/mamba", folder.path())], Fault::None, None);
    let error = open("org/mamba", &options(cache.path(), &hub.address)).unwrap_err();
    assert!(error.to_string().contains("mamba"), "{error}");
    assert!(!hub.seen().iter().any(|request| request.path.ends_with(".safetensors")));
}

#[test]
fn progress_counts_every_byte() {
    #[derive(Default)]
    struct Sum(AtomicU64, AtomicU64);
    impl Progress for Sum {
        fn begin(&self, _what: &str, total: Option<u64>) {
            self.0.fetch_add(total.unwrap(), Ordering::SeqCst);
        }
        fn advance(&self, amount: u64) {
            self.1.fetch_add(amount, Ordering::SeqCst);
        }
        fn finish(&self) {}
    }
    let cache = tempfile::tempdir().unwrap();
    let hub = hub(Fault::None);
    let sum = Sum::default();
    sagellm_model::open("gpt2", &options(cache.path(), &hub.address), &sum).unwrap();
    let (announced, arrived) = (sum.0.into_inner(), sum.1.into_inner());
    assert!(announced > 180_000);
    assert_eq!(announced, arrived);
}

#[test]
fn a_tokenizer_alone_needs_no_weights() {
    let cache = tempfile::tempdir().unwrap();
    let hub = hub(Fault::None);
    let online = options(cache.path(), &hub.address);
    for name in ["gpt2", "sshleifer/tiny-gpt2"] {
        let tokenizer = open_tokenizer(name, &online, &NoProgress).unwrap();
        assert!(!tokenizer.encode("some words", true).unwrap().is_empty());
    }
    let weights = |path: &str| path.ends_with(".bin") || path.ends_with(".safetensors");
    assert!(!hub.seen().iter().any(|request| weights(&request.path)));
    // A model that is opened later is completed.
    open("gpt2", &online).unwrap();
}
