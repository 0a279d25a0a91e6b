//! Where models are kept and where they come from.

use std::env;
use std::fmt;
use std::path::PathBuf;

/// Where models are kept and where they come from. Defaults and variables are those of `huggingface_hub`.
#[derive(Clone)]
pub struct HubOptions {
    /// The cache (`HF_HUB_CACHE`, else `$HF_HOME/hub`, else `~/.cache/huggingface/hub`).
    pub cache: PathBuf,
    /// The hub (`HF_ENDPOINT`, else <https://huggingface.co>), without a slash at its end.
    pub endpoint: String,
    /// The access token (`HF_TOKEN`, else the file `$HF_HOME/token`). Sent to the endpoint only, shown nowhere.
    pub token: Option<String>,
    /// Whether downloads are forbidden (`HF_HUB_OFFLINE`).
    pub offline: bool,
    /// How this program names itself to the hub.
    pub user_agent: String,
}

impl HubOptions {
    /// Reads the environment.
    pub fn from_env() -> Self {
        Self::from_variables(|name| env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let user_cache = || match variable("XDG_CACHE_HOME") {
            Some(folder) => PathBuf::from(folder),
            None => env::home_dir().unwrap_or_else(|| ".".into()).join(".cache"),
        };
        let home = variable("HF_HOME").map_or_else(|| user_cache().join("huggingface"), PathBuf::from);
        let token_file = variable("HF_TOKEN_PATH").map_or_else(|| home.join("token"), PathBuf::from);
        let token = variable("HF_TOKEN")
            .or_else(|| sagellm_core::file::read_text(&token_file, 64 << 10).ok())
            .map(|token| token.trim().to_owned())
            .filter(|token| !token.is_empty());
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into());
        let offline = variable("HF_HUB_OFFLINE")
            .is_some_and(|value| ["1", "ON", "YES", "TRUE"].contains(&value.to_uppercase().as_str()));
        Self {
            cache: variable("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from),
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token,
            offline,
            user_agent: concat!("sagellm-benchmark/", env!("CARGO_PKG_VERSION")).into(),
        }
    }
}

impl Default for HubOptions {
    fn default() -> Self {
        Self::from_env()
    }
}

impl fmt::Debug for HubOptions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("HubOptions")
            .field("cache", &self.cache)
            .field("endpoint", &self.endpoint)
            .field("token", &self.token.as_ref().map(|_| "set"))
            .field("offline", &self.offline)
            .field("user_agent", &self.user_agent)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(variables: &[(&str, &str)]) -> HubOptions {
        HubOptions::from_variables(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn variables_are_those_of_huggingface_hub() {
        let plain = options(&[("XDG_CACHE_HOME", "/c")]);
        assert_eq!(plain.cache, PathBuf::from("/c/huggingface/hub"));
        assert_eq!((plain.endpoint.as_str(), plain.offline, plain.token), ("https://huggingface.co", false, None));

        let set = options(&[
            ("HF_HOME", "/hf"),
            ("HF_ENDPOINT", "http://mirror/"),
            ("HF_TOKEN", " secret\n"),
            ("HF_HUB_OFFLINE", "true"),
        ]);
        assert_eq!(set.cache, PathBuf::from("/hf/hub"));
        assert_eq!((set.endpoint.as_str(), set.offline), ("http://mirror", true));
        assert_eq!(set.token.as_deref(), Some("secret"));
        assert_eq!(options(&[("HF_HOME", "/hf"), ("HF_HUB_CACHE", "/elsewhere")]).cache, PathBuf::from("/elsewhere"));
        assert!(!options(&[("HF_HUB_OFFLINE", "0")]).offline);
    }

    #[test]
    fn the_token_may_lie_in_a_file_and_is_never_shown() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("token"), "hf_secret\n").unwrap();
        let options = options(&[("HF_HOME", home.path().to_str().unwrap())]);
        assert_eq!(options.token.as_deref(), Some("hf_secret"));
        assert!(!format!("{options:?}").contains("hf_secret"));
    }
}
