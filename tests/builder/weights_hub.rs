//! Repositories of Hugging Face's: its cache, and a hub on loopback that answers as the real one does.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::home::{Home, fails, names, succeeds, text};
use crate::common::server::{Request, Server, serve, serve_part, status};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const TOKEN: &str = "hf_aSecretThatNobodySees";

fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/checkpoints/as_people_have");
    std::fs::read(folder.join(name)).unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    onnx_file::digest::hex(&onnx_file::digest::sha256(bytes).unwrap())
}

/// A repository's files, with the entity tag of each.
#[derive(Clone, Default)]
struct Files(BTreeMap<String, (String, Vec<u8>)>);

impl Files {
    /// A large file, which the hub knows by its SHA-256.
    fn large(mut self, name: &str, bytes: Vec<u8>) -> Self {
        self.0.insert(name.to_owned(), (sha256(&bytes), bytes));
        self
    }

    /// A small file, which git keeps under a digest of its own.
    fn small(mut self, name: &str, bytes: Vec<u8>) -> Self {
        let tag = sha256(&bytes)[..40].to_owned();
        self.0.insert(name.to_owned(), (tag, bytes));
        self
    }

    /// timm's small network.
    fn timm() -> Self {
        let files = Self::default().large("model.safetensors", fixture("timm_hub/model.safetensors"));
        files.small("config.json", fixture("timm_hub/config.json"))
    }

    fn get(&self, request: &Request) -> Option<&(String, Vec<u8>)> {
        self.0.get(request.line.rsplit('/').next()?)
    }

    /// What says where a file is, and what it is: in the answer itself, as it redirects to `cdn`.
    fn describe(&self, request: &Request, cdn: Option<&str>, out: &mut dyn Write) -> io::Result<()> {
        let Some((tag, bytes)) = self.get(request) else {
            return status(out, "404 Not Found", "X-Error-Code: EntryNotFound\r\nX-Error-Message: Entry not found\r\n");
        };
        let (commit, len) = (format!("X-Repo-Commit: {COMMIT}\r\n"), bytes.len());
        match cdn.filter(|_| tag.len() == 64) {
            Some(cdn) => {
                let linked = format!("X-Linked-Etag: \"{tag}\"\r\nX-Linked-Size: {len}\r\nETag: \"other\"\r\n");
                let place = format!("Location: {cdn}/blobs/{}\r\n", request.line.rsplit('/').next().unwrap());
                status(out, "302 Found", &format!("{commit}{linked}{place}"))
            }
            None => {
                let own = format!("{commit}ETag: \"{tag}\"\r\n");
                match request.line.starts_with("HEAD") {
                    true => status(out, "200 OK", &format!("{own}Content-Length: {len}\r\n")),
                    false => serve(request, out, bytes),
                }
            }
        }
    }
}

/// A hub that serves `files` itself.
fn hub(files: Files) -> Server {
    Server::start(move |request, out| files.describe(request, None, out))
}

fn command(home: &Home, url: &str, weights: &str) -> Command {
    let mut command = home.command("http://127.0.0.1:1");
    command.env("HF_HOME", home.path().join("hf")).env("HF_ENDPOINT", url);
    command.args(["--weights", weights, "-o", "m.onnx", "--force"]);
    command
}

fn stored(home: &Home, name: &str) -> PathBuf {
    home.path().join("hf/hub").join(name)
}

#[test]
fn what_is_downloaded_lies_as_hugging_faces_own_programs_lay_it() {
    let home = Home::new();
    let files = Files::timm();
    let large = files.0["model.safetensors"].0.clone();
    let server = hub(files);
    let said = succeeds(command(&home, &server.url(), "hf-hub:timm/small"));
    for part in ["timm/small at revision main, downloaded to", "preprocessing taken from", "5 labels taken from"] {
        assert!(said.contains(part), "{said}");
    }
    let stored = stored(&home, "models--timm--small");
    assert_eq!(std::fs::read_to_string(stored.join("refs/main")).unwrap(), COMMIT);
    assert_eq!(names(&stored.join("snapshots").join(COMMIT)), ["config.json", "model.safetensors"]);
    assert_eq!(names(&stored.join("blobs")).len(), 2);
    #[cfg(unix)]
    {
        let link = stored.join("snapshots").join(COMMIT).join("model.safetensors");
        assert_eq!(std::fs::read_link(link).unwrap(), Path::new("../../blobs").join(large));
    }
    // Files are asked for at the commit that the branch meant, so that all are of one.
    let asked: Vec<String> = server.requests().into_iter().map(|request| request.line).collect();
    assert_eq!(asked[0], "HEAD /timm/small/resolve/main/model.safetensors");
    assert!(
        asked[1..].iter().all(|line| line.contains(COMMIT) || line.contains("/main/model.safetensors")),
        "{asked:?}"
    );
    let before = asked.len();
    let said = succeeds(command(&home, &server.url(), "hf-hub:timm/small"));
    assert!(said.contains("found in the cache:"), "{said}");
    succeeds(command(&home, &server.url(), &format!("hf-hub:timm/small@{COMMIT}")));
    assert_eq!(server.requests().len(), before, "what is there is not asked for");
}

#[test]
fn revisions_and_shards_are_followed() {
    let home = Home::new();
    let mut files = Files::default();
    for name in ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"] {
        files = files.large(name, fixture(&format!("sharded/{name}")));
    }
    let index = "model.safetensors.index.json";
    let server = hub(files.small(index, fixture(&format!("sharded/{index}"))));
    succeeds(command(&home, &server.url(), "hf_hub:org/sharded@refs/pr/1"));
    let stored = stored(&home, "models--org--sharded");
    assert_eq!(names(&stored.join("snapshots").join(COMMIT)).len(), 3);
    assert_eq!(std::fs::read_to_string(stored.join("refs/refs/pr/1")).unwrap(), COMMIT);
    assert!(server.requests()[0].line.contains("/resolve/refs%2Fpr%2F1/"), "{:?}", server.requests()[0]);
    // A shard that is gone is fetched again; what is there stays.
    let before = server.requests().len();
    std::fs::remove_file(stored.join("snapshots").join(COMMIT).join("model-00002-of-00002.safetensors")).unwrap();
    let said = succeeds(command(&home, &server.url(), "hf_hub:org/sharded@refs/pr/1"));
    assert!(said.contains("downloaded to"), "{said}");
    assert!(
        server.requests()[before..].iter().all(|request| request.line.starts_with("HEAD")),
        "its contents were there"
    );
}

#[test]
fn what_is_not_there_is_said_in_the_hubs_words() {
    let home = Home::new();
    let missing = "X-Error-Code: RepoNotFound\r\nX-Error-Message: Repository not found\r\n";
    let server = Server::start(move |_, out| status(out, "404 Not Found", missing));
    fails(
        &mut command(&home, &server.url(), "hf-hub:timm/none"),
        4,
        &["404 Not Found: Repository not found", "hf download timm/none"],
    );
    assert_eq!(server.requests().len(), 1, "no other name is tried");
    let empty = hub(Files::default().small("README.md", b"#".to_vec()));
    let said = fails(
        &mut command(&home, &empty.url(), "hf-hub:timm/none"),
        4,
        &["none of model.safetensors", "/timm/none/resolve/main/FILE"],
    );
    assert!(said.contains("pytorch_model.bin.index.json"), "{said}");
    assert!(!home.path().join("m.onnx").exists());
}

#[test]
fn a_gated_repository_wants_a_token_which_is_never_shown() {
    let home = Home::new();
    let files = Files::timm();
    let server = Server::start(move |request, out| {
        let gated = "X-Error-Code: GatedRepo\r\nX-Error-Message: Access to model org/gated is restricted\r\n";
        match request.authorization.as_deref() == Some(&format!("Bearer {TOKEN}")) {
            true => files.describe(request, None, out),
            false => status(out, "401 Unauthorized", gated),
        }
    });
    let url = server.url();
    fails(&mut command(&home, &url, "hf-hub:org/gated"), 4, &["restricted", "set HF_TOKEN to a token of yours"]);
    let mut wrong = command(&home, &url, "hf-hub:org/gated");
    wrong.env("HF_TOKEN", "hf_anotherSecret").args(["-v", "-v"]);
    let said = fails(&mut wrong, 4, &["the token of HF_TOKEN or of `hf auth login` was sent"]);
    assert!(!said.contains("anotherSecret"), "{said}");
    let mut right = command(&home, &url, "hf-hub:org/gated");
    right.env("HF_TOKEN", TOKEN).args(["-v", "-v"]);
    let said = succeeds(right);
    assert!(!said.contains(TOKEN), "{said}");
    // As `hf auth login` leaves it.
    let other = Home::new();
    std::fs::create_dir_all(other.path().join("hf")).unwrap();
    std::fs::write(other.path().join("hf/token"), format!("{TOKEN}\n")).unwrap();
    succeeds(command(&other, &url, "hf-hub:org/gated"));
}

#[test]
fn a_token_goes_to_no_other_host() {
    let home = Home::new();
    let files = Files::timm();
    let blobs = files.clone();
    let cdn = Server::start(move |request, out| serve(request, out, &blobs.get(request).unwrap().1));
    let target = cdn.url();
    let server = Server::start(move |request, out| files.describe(request, Some(&target), out));
    let mut build = command(&home, &server.url(), "hf-hub:timm/small");
    build.env("HF_TOKEN", TOKEN);
    succeeds(build);
    assert!(server.requests().iter().all(|request| request.authorization.is_some()));
    let elsewhere = cdn.requests();
    assert_eq!(elsewhere.len(), 1);
    assert_eq!(elsewhere[0].authorization, None);
    // Nor where the whole hub has moved.
    let (home, files) = (Home::new(), Files::timm());
    let moved = hub(files);
    let target = moved.url();
    let server = Server::start(move |request, out| {
        let path = request.line.split_once(' ').unwrap().1.to_owned();
        status(out, "308 Permanent Redirect", &format!("Location: {target}{path}\r\n"))
    });
    let mut build = command(&home, &server.url(), "hf-hub:timm/small");
    build.env("HF_TOKEN", TOKEN);
    succeeds(build);
    assert!(moved.requests().iter().all(|request| request.authorization.is_none()));
}

#[test]
fn a_repository_that_was_renamed_is_followed_with_its_token() {
    let (home, files) = (Home::new(), Files::timm());
    let server = Server::start(move |request, out| match request.line.contains("/old/") {
        true => {
            let path = request.line.split_once(' ').unwrap().1.replace("/old/", "/new/");
            status(out, "307 Temporary Redirect", &format!("Location: {path}\r\n"))
        }
        false if request.authorization.is_none() => status(out, "401 Unauthorized", ""),
        false => files.describe(request, None, out),
    });
    let mut build = command(&home, &server.url(), "hf-hub:old/small");
    build.env("HF_TOKEN", TOKEN);
    succeeds(build);
}

#[test]
fn a_body_that_breaks_off_goes_on_and_one_of_another_digest_is_not_kept() {
    let home = Home::new();
    let files = Files::timm();
    let server = Server::start(move |request, out| match request.line.as_str() {
        line if line.starts_with("GET") && line.ends_with("model.safetensors") && request.from.is_none() => {
            serve_part(request, out, &files.get(request).unwrap().1, 10_000)
        }
        _ => files.describe(request, None, out),
    });
    let said = succeeds(command(&home, &server.url(), "hf-hub:timm/small"));
    assert!(said.contains("trying again"), "{said}");
    assert!(server.requests().iter().any(|request| request.from == Some(10_000)));

    let (home, files) = (Home::new(), Files::timm());
    let damaged = Server::start(move |request, out| match files.get(request) {
        Some((_, bytes)) if request.line.starts_with("GET") && bytes.len() > 10_000 => {
            let mut bytes = bytes.clone();
            bytes[20_000] ^= 1;
            serve(request, out, &bytes)
        }
        _ => files.describe(request, None, out),
    });
    fails(
        &mut command(&home, &damaged.url(), "hf-hub:timm/small"),
        3,
        &["which should start with", "nothing was kept"],
    );
    let stored = stored(&home, "models--timm--small");
    assert!(!stored.join("snapshots").join(COMMIT).join("model.safetensors").exists());
    assert!(!stored.join("refs").exists());
    assert_eq!(names(&stored.join("blobs")).len(), 1, "the configuration's alone");
}

#[test]
fn a_body_without_end_is_cut_off_where_the_file_ends() {
    let (home, files) = (Home::new(), Files::timm());
    let server = Server::start(move |request, out| match request.line.as_str() {
        line if line.starts_with("GET") && line.ends_with("model.safetensors") => {
            status(out, "200 OK", "")?;
            loop {
                out.write_all(&[0; 1 << 16])?;
            }
        }
        _ => files.describe(request, None, out),
    });
    let said = fails(
        &mut command(&home, &server.url(), "hf-hub:timm/small"),
        3,
        &["more than the file has", "41196 were announced"],
    );
    assert!(said.contains("nothing was kept"), "{said}");
}

#[test]
fn offline_nothing_is_asked() {
    let home = Home::new();
    let server = hub(Files::timm());
    for (name, value) in [("HF_HUB_OFFLINE", "1"), ("TRANSFORMERS_OFFLINE", "true")] {
        let mut build = command(&home, &server.url(), "hf-hub:timm/small");
        build.env(name, value);
        fails(&mut build, 4, &["models--timm--small", name, "hf download timm/small"]);
    }
    assert_eq!(server.requests(), []);
    succeeds(command(&home, &server.url(), "hf-hub:timm/small"));
    let mut build = command(&home, &server.url(), "hf-hub:timm/small");
    build.env("HF_HUB_OFFLINE", "1");
    succeeds(build);
}

#[test]
fn a_plain_file_server_will_do_as_a_mirror() {
    // It knows no commits, no entity tags and no HEAD.
    let (home, files) = (Home::new(), Files::timm());
    let server = Server::start(move |request, out| match (request.line.starts_with("HEAD"), files.get(request)) {
        (true, _) => status(out, "501 Unsupported method", ""),
        (false, Some((_, bytes))) => serve(request, out, bytes),
        (false, None) => status(out, "404 File not found", ""),
    });
    succeeds(command(&home, &server.url(), "hf-hub:timm/small"));
    let before = server.requests().len();
    let said = succeeds(command(&home, &server.url(), "hf-hub:timm/small"));
    assert!(said.contains("found in the cache:"), "{said}");
    assert_eq!(server.requests().len(), before);
}

#[test]
fn inspect_and_verify_take_repositories_too() {
    let home = Home::new();
    let server = hub(Files::timm());
    succeeds(command(&home, &server.url(), "hf-hub:timm/small"));
    let run = |arguments: &[&str]| {
        let mut command = home.command("http://127.0.0.1:1");
        command.env("HF_HOME", home.path().join("hf")).args(arguments);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    assert!(run(&["inspect", "hf-hub:timm/small"]).contains("safetensors"));
    assert!(run(&["verify", "m.onnx", "--weights", "hf-hub:timm/small"]).contains("equal"));
}

#[test]
fn settings_that_make_no_sense_are_usage_errors() {
    let home = Home::new();
    fails(&mut command(&home, "ftp://x", "hf-hub:timm/small"), 2, &["HF_ENDPOINT"]);
    fails(&mut command(&home, "http://127.0.0.1:1", "hf-hub:../small"), 2, &["hf-hub:ORG/NAME@REVISION"]);
    let mut build = command(&home, "http://127.0.0.1:1", "hf-hub:timm/small");
    fails(build.args(["--sha256", "00112233"]), 2, &["drop --sha256"]);
}

/// What `AutoModel.from_pretrained` and `hf download` of one file leave: a snapshot without its configuration.
fn cached_without_configuration(home: &Home, model: Vec<u8>) -> PathBuf {
    let stored = stored(home, "models--timm--small");
    let snapshot = stored.join("snapshots").join(COMMIT);
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::create_dir_all(stored.join("refs")).unwrap();
    std::fs::write(stored.join("refs/main"), COMMIT).unwrap();
    std::fs::write(snapshot.join("model.safetensors"), model).unwrap();
    snapshot
}

#[test]
fn a_cached_repository_that_lacks_its_configuration_is_completed() {
    let home = Home::new();
    let snapshot = cached_without_configuration(&home, fixture("timm_hub/model.safetensors"));
    let server = hub(Files::timm());
    let said = succeeds(command(&home, &server.url(), "hf-hub:timm/small"));
    assert!(said.contains("found in the cache:") && said.contains("5 labels taken from"), "{said}");
    assert_eq!(names(&snapshot), ["config.json", "model.safetensors"]);
    let lines: Vec<String> = server.requests().into_iter().map(|request| request.line).collect();
    assert!(lines.iter().all(|line| line.contains(COMMIT) && !line.contains("model.safetensors")), "{lines:?}");
    // What the repository does not have is not asked for again.
    succeeds(command(&home, &server.url(), "hf-hub:timm/small"));
    assert_eq!(server.requests().len(), lines.len());
    let absent = stored(&home, "models--timm--small").join(".no_exist").join(COMMIT);
    assert_eq!(names(&absent), ["preprocessor_config.json"]);
}

#[test]
fn a_configuration_that_cannot_be_asked_for_is_said_to_be_missing() {
    let home = Home::new();
    cached_without_configuration(&home, fixture("timm_hub/model.safetensors"));
    let said = succeeds(command(&home, "http://127.0.0.1:1", "hf-hub:timm/small"));
    for part in ["config.json and preprocessor_config.json was never fetched", "was not followed"] {
        assert!(said.contains(part), "{said}");
    }
    let mut offline = command(&home, "http://127.0.0.1:1", "hf-hub:timm/small");
    offline.env("HF_HUB_OFFLINE", "1");
    let said = succeeds(offline);
    assert!(said.contains("HF_HUB_OFFLINE forbids to ask for it"), "{said}");
    let mut inspect = home.command("http://127.0.0.1:1");
    inspect.env("HF_HOME", home.path().join("hf")).env("HF_HUB_OFFLINE", "1").args(["inspect", "hf-hub:timm/small"]);
    let said = succeeds(inspect);
    assert!(said.contains("note: config.json and"), "{said}");
}

#[test]
fn a_configuration_of_another_network_counts_where_the_weights_alone_were_cached() {
    let home = Home::new();
    cached_without_configuration(&home, fixture("timm_hub/model.safetensors"));
    let files = Files::timm().small("config.json", br#"{"architecture": "resnetblur50"}"#.to_vec());
    let server = hub(files);
    fails(&mut command(&home, &server.url(), "hf-hub:timm/small"), 3, &["resnetblur50", "config.json"]);
}

#[test]
fn nothing_is_downloaded_for_a_model_that_cannot_be_written_or_compared() {
    let home = Home::new();
    let server = hub(Files::timm());
    std::fs::write(home.path().join("there.onnx"), "a model").unwrap();
    std::fs::create_dir(home.path().join("folder")).unwrap();
    let build = |arguments: &[&str]| {
        let mut command = home.command(&server.url());
        command.env("HF_HOME", home.path().join("hf")).env("HF_ENDPOINT", server.url()).args(arguments);
        command
    };
    let url = format!("{}/w.pth", server.url());
    for weights in [
        &["--weights", "hf-hub:timm/small"][..],
        &["--weights", &url],
        &["--weights", "IMAGENET1K_V1", "--variant", "resnet18"],
    ] {
        for (output, code, part) in [
            (&["-o", "none/m.onnx"][..], 6, "its folder does not exist"),
            (&["-o", "there.onnx"], 2, "exists; give another -o"),
            (&["-o", "folder"], 6, "it is a folder"),
            (&["-o", "folder", "--force"], 6, "it is a folder"),
            (&["-o", "-", "--external-data", "always"], 2, "standard output"),
            (&["-o", "-", "--verify"], 2, "--verify keeps nothing"),
            (&["-o", "m.onnx", "--outputs", "c2,c2"], 2, "twice"),
            #[cfg(unix)]
            (&["-o", "/dev/null"], 2, "is a pipe or a device"),
        ] {
            fails(&mut build(&[weights, output].concat()), code, &[part]);
        }
        for (model, part) in [("none.onnx", "none.onnx"), ("there.onnx", "there.onnx"), ("-", "")] {
            fails(&mut build(&[&["verify", model][..], weights].concat()), 3, &[part]);
        }
    }
    fails(&mut build(&["inspect", "hf-hub:timm/small", "--skip-objects", "a"]), 2, &["--skip-objects"]);
    assert_eq!(server.requests(), []);
    assert_eq!(std::fs::read(home.path().join("there.onnx")).unwrap(), b"a model");
}

#[test]
fn inspect_says_of_a_folder_what_build_and_verify_refuse_it_by() {
    let home = Home::new();
    let folder = home.path().join("blur");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("model.safetensors"), fixture("timm_hub/model.safetensors")).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = home.command("http://127.0.0.1:1");
        let output = command.args(arguments).output().unwrap();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    std::fs::write(folder.join("config.json"), r#"{"architecture": "resnetblur50"}"#).unwrap();
    let (code, said, _) = run(&["inspect", "blur"]);
    assert!(code == Some(0) && said.contains("unknown: ") && said.contains("the network is 'resnetblur50'"), "{said}");
    let (_, json, _) = run(&["inspect", "blur/model.safetensors", "--json"]);
    assert!(json.contains("\"code\": \"otherwise\""), "{json}");
    let (code, _, said) = run(&["--weights", "blur", "-o", "m.onnx"]);
    assert!(code == Some(3) && said.contains("the network is 'resnetblur50'"), "{said}");
    std::fs::write(folder.join("config.json"), "{").unwrap();
    let (code, json, _) = run(&["inspect", "blur", "--json"]);
    assert!(code == Some(0) && json.contains("\"code\": \"beside\""), "{json}");
    std::fs::write(folder.join("config.json"), "{}").unwrap();
    let (_, said, _) = run(&["inspect", "blur"]);
    assert!(!said.contains("unknown"), "{said}");
}
