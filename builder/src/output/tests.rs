use super::*;
use onnx_file::element::ElementType;
use onnx_file::proto::GraphProto;
use prost::Message as _;

/// Writes a model of one weight of 2 KiB, all bytes `byte`, its data apart, as far as before the commit.
fn prepared(path: &Path, byte: u8) -> io::Result<Output> {
    let weight = TensorProto { dims: vec![512], data_type: ElementType::F32.to_proto(), ..TensorProto::default() };
    let graph = GraphProto { initializer: vec![weight], ..GraphProto::default() };
    let mut model = ModelProto { graph: Some(graph), ..ModelProto::default() };
    let mut output = Output::create(path)?;
    output.write_data(&mut model, None, |_, _| Ok::<_, io::Error>(vec![byte; 2048])).expect("a data file");
    output.model().write_all(&model.encode_to_vec())?;
    Ok(output)
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Leaves what a kill would, before or after the data file was renamed; returns that file's name.
fn kill(output: Output, renamed: bool) -> String {
    let Output { path, model, data } = output;
    let data = data.unwrap();
    let partials = [atomic::partial(&path).unwrap(), data_partial(&path).unwrap()];
    let [left, left_data] = partials.each_ref().map(|partial| fs::read(partial).unwrap());
    drop(model);
    fs::write(&partials[0], left).unwrap();
    if renamed {
        data.file.commit_as(&data.path).unwrap();
    } else {
        drop(data.file);
        fs::write(&partials[1], left_data).unwrap();
    }
    data.path.file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn a_model_that_cannot_be_renamed_takes_its_new_data_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    let output = prepared(&path, 1).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(output.commit().is_err());
    assert_eq!(names(folder.path()), ["m.onnx"]);
}

#[test]
fn a_model_that_cannot_be_renamed_leaves_data_that_was_there_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    prepared(&path, 1).unwrap().commit().unwrap();
    let before = names(folder.path());
    let output = prepared(&path, 1).unwrap();
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(output.commit().is_err());
    assert_eq!(names(folder.path()), before);
}

#[test]
fn data_of_a_kill_between_the_renames_goes_with_the_next_writer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    prepared(&path, 1).unwrap().commit().unwrap();
    let old = names(folder.path());
    let orphan = kill(prepared(&path, 2).unwrap(), true);
    assert!(names(folder.path()).contains(&orphan));
    drop(Output::create(&path).unwrap());
    assert_eq!(names(folder.path()), old);
}

#[test]
fn nothing_but_the_killed_writers_own_data_goes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    prepared(&path, 1).unwrap().commit().unwrap();
    fs::copy(&path, folder.path().join("copy.onnx")).unwrap();
    prepared(&path, 2).unwrap().commit().unwrap();
    for name in ["m-0123456789abcdef.data", "m-0123.data", "m-0123456789abcdeX.data", "n-0123456789abcdef.data"] {
        fs::write(folder.path().join(name), "of somebody").unwrap();
    }
    let before = names(folder.path());
    // Killed before any rename, with data that a copy of an older model uses.
    kill(prepared(&path, 1).unwrap(), false);
    assert_eq!(names(folder.path()).len(), before.len() + 2);
    drop(Output::create(&path).unwrap());
    assert_eq!(names(folder.path()), before);
    // Killed after the rename of data that another model has by now.
    let used = kill(prepared(&path, 3).unwrap(), true);
    fs::write(folder.path().join("m"), format!("a model that names {used}")).unwrap();
    drop(Output::create(&path).unwrap());
    assert!(names(folder.path()).contains(&used));
}

#[test]
fn an_output_of_the_same_stem_does_not_take_the_partial_data_that_tells_of_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    prepared(&path, 1).unwrap().commit().unwrap();
    fs::copy(&path, folder.path().join("copy.onnx")).unwrap();
    prepared(&path, 2).unwrap().commit().unwrap();
    let before = names(folder.path());
    for other in ["m", "m.data", ".m.onnx"] {
        // Killed before any rename, with data that a copy of an older model uses.
        kill(prepared(&path, 1).unwrap(), false);
        let left = names(folder.path());
        drop(Output::create(&folder.path().join(other)).unwrap());
        assert_eq!(names(folder.path()), left, "{other}");
        drop(Output::create(&path).unwrap());
        assert_eq!(names(folder.path()), before, "{other}");
    }
}

#[test]
fn a_folder_with_a_name_like_the_datas_is_in_nobodys_way() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("m.data")).unwrap();
    let (files, _) = prepared(&folder.path().join("m.onnx"), 1).unwrap().commit().unwrap();
    assert_eq!(files.len(), 2);
}

#[test]
fn damaged_data_under_the_right_name_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    let (files, len) = prepared(&path, 1).unwrap().commit().unwrap();
    fs::write(&files[0], vec![9; len as usize]).unwrap();
    prepared(&path, 1).unwrap().commit().unwrap();
    assert_eq!(fs::read(&files[0]).unwrap(), [1; 2048]);
}

#[test]
fn a_text_is_found_wherever_it_lies_in_a_file() {
    for before in [0, 1, 65_530, 65_536, 200_000] {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![b'-'; before]).unwrap();
        file.write_all(b"needle--").unwrap();
        assert!(mentions(&file, "needle").unwrap(), "{before}");
        assert!(!mentions(&file, "needles").unwrap(), "{before}");
    }
}
