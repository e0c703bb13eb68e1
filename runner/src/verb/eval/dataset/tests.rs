//! Data sets in the forms in which they come.

use onnx_file::metadata::Key;
use onnx_file::proto::tensor_proto::DataType;

use super::*;
use crate::model::file::tests::{file, value};
use crate::verb::eval::numbering::ClassOrder;

fn classes(labels: &str) -> Classes {
    let properties: &[(Key, &str)] = if labels.is_empty() {
        &[]
    } else {
        &[(Key::Labels, labels), (Key::LabelIds, r#"["n00000001","n00000002","n00000003"]"#)]
    };
    let model = file(vec![value("x", DataType::Float, &[-1, 3, 4, 4])], properties);
    let mut classes = Classes::of(&model).unwrap();
    classes.count = Some(3);
    classes
}

fn named() -> Classes {
    classes(r#"["cat","dog, hound","white shark"]"#)
}

fn folder(files: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, b"image").unwrap();
    }
    folder
}

fn found(folder: &Path, dataset: &Dataset) -> Vec<(String, usize)> {
    let relative = |path: &Path| path.strip_prefix(folder).unwrap().display().to_string();
    dataset.images.iter().map(|image| (relative(&image.path), image.class)).collect()
}

#[test]
fn class_folders_are_matched_by_name_id_and_index() {
    let data = folder(&["cat/1.jpg", "cat/deeper/2.png", "hound/3.jpg", "White_Shark/4.webp", "notes.txt"]);
    let dataset = Dataset::open(data.path(), None, &named()).unwrap();
    let expected = [("White_Shark/4.webp", 2), ("cat/1.jpg", 0), ("cat/deeper/2.png", 0), ("hound/3.jpg", 1)];
    assert_eq!(found(data.path(), &dataset), expected.map(|(name, class)| (name.to_owned(), class)));
    for names in [["n00000001/a.jpg", "n00000003/b.jpg"], ["0/a.jpg", "2/b.jpg"]] {
        let data = folder(&names);
        let dataset = Dataset::open(data.path(), None, &named()).unwrap();
        assert_eq!(dataset.images.iter().map(|image| image.class).collect::<Vec<_>>(), [0, 2]);
    }
}

#[test]
fn an_unknown_class_folder_is_an_error_that_names_it() {
    let data = folder(&["cat/1.jpg", "sharks/2.jpg", "shark/3.jpg"]);
    let error = Dataset::open(data.path(), None, &named()).unwrap_err().to_string();
    assert!(error.contains("sharks") && error.contains("shark (did you mean white shark?)"), "{error}");
    let data = folder(&["train/cat/1.jpg", "val/cat/1.jpg"]);
    let error = Dataset::open(data.path(), None, &named()).unwrap_err().to_string();
    assert!(error.contains("folder of one split"), "{error}");
}

#[test]
fn without_labels_folders_count_in_order_of_name_if_there_are_as_many_as_classes() {
    let data = folder(&["n00000009/1.jpg", "n00000004/2.jpg", "n00000005/3.jpg"]);
    let dataset = Dataset::open(data.path(), None, &classes("")).unwrap();
    assert_eq!(found(data.path(), &dataset)[2], ("n00000009/1.jpg".to_owned(), 2));
    assert!(dataset.notes[0].to_string().contains("in order of name"));
    let data = folder(&["n00000009/1.jpg", "n00000004/2.jpg"]);
    let error = Dataset::open(data.path(), None, &classes("")).unwrap_err().to_string();
    assert!(error.contains("holds no WordNet ids"), "{error}");
}

#[test]
fn files_of_labels_are_read_in_their_several_forms() {
    let files = ["ILSVRC2012_val_00000001.JPEG", "sub/b.png", "c.jpg"];
    for text in [
        "file,label\nILSVRC2012_val_00000001.JPEG,cat\nsub/b.png,\"dog, hound\"\nc.jpg,2\n",
        "ImageId,PredictionString\nILSVRC2012_val_00000001,n00000001 85 1 499 272\nb,n00000002 1 2 3 4\nc,n00000003\n",
        "ILSVRC2012_val_00000001.JPEG 0\nsub/b.png 1\nc.jpg 2\n",
        "ILSVRC2012_val_00000001.JPEG\tcat\nb.png\thound\nc.jpg\tWhite Shark",
    ] {
        let data = folder(&files);
        let labels = data.path().join("labels.csv");
        std::fs::write(&labels, text).unwrap();
        for path in [data.path(), &labels] {
            let dataset = Dataset::open(path, None, &named()).unwrap();
            let expected: Vec<(String, usize)> =
                files.iter().enumerate().map(|(class, name)| ((*name).to_owned(), class)).collect();
            assert_eq!(found(data.path(), &dataset), expected, "{text}");
            assert!(dataset.notes.is_empty(), "{:?}", dataset.notes);
        }
    }
}

#[test]
fn a_list_of_images_goes_before_folders_that_only_their_place_makes_classes() {
    let files = ["000/a.jpg", "001/b.jpg", "002/c.jpg"];
    let data = folder(&files);
    let read = |classes: &Classes| Dataset::open(data.path(), None, classes);
    let of = |dataset: Dataset| dataset.images.iter().map(|image| image.class).collect::<Vec<_>>();
    let named = named();
    let by_number = named.in_order(Some(ClassOrder::Number));
    for (name, text) in [
        ("labels.csv", "000/a.jpg,cat\n001/b.jpg,White Shark\n002/c.jpg,cat\n"),
        ("labels.csv", "id,breed\na,0\nb,2\nc,0\n"),
        ("val.txt", "a.jpg 0\nb.jpg 2\nc.jpg 0\n"),
        ("labels.txt", "0\n2\n0\n"),
    ] {
        let labels = data.path().join(name);
        std::fs::write(&labels, text).unwrap();
        assert_eq!(of(read(&named).unwrap()), [0, 2, 0], "{text}");
        assert_eq!(of(read(&by_number).unwrap()), [0, 1, 2], "{text}");
        std::fs::remove_file(labels).unwrap();
    }
    let labels = data.path().join("labels.csv");
    std::fs::write(&labels, "a.jpg,cat\nb.jpg,cat\n").unwrap();
    let error = read(&named).unwrap_err().to_string();
    for part in ["its folders", "labels.csv", "1 of the 3", "--image-labels", "--class-order"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    std::fs::remove_file(labels).unwrap();
    std::fs::write(data.path().join("labels.txt"), "cat\ndog\nwhite shark\n").unwrap();
    assert_eq!(of(read(&named).unwrap()), [0, 1, 2], "the names of the classes list no images");
}

#[test]
fn bad_files_of_labels_are_errors_with_a_line_and_absent_images_are_counted() {
    let data = folder(&["a.jpg", "b.jpg"]);
    let labels = data.path().join("elsewhere.csv");
    std::fs::write(&labels, "a.jpg,cat\nb.jpg,wolf\n").unwrap();
    let error = Dataset::open(data.path(), Some(&labels), &named()).unwrap_err().to_string();
    assert!(error.contains("elsewhere.csv line 2") && error.contains("wolf"), "{error}");
    std::fs::write(&labels, "a.jpg,cat\nb.jpg\n").unwrap();
    assert!(matches!(
        Dataset::open(data.path(), Some(&labels), &named()),
        Err(DatasetError::BadLabels { line: 2, .. })
    ));
    std::fs::write(&labels, "name,class\na.jpg,cat\nz.jpg,cat\n").unwrap();
    let dataset = Dataset::open(data.path(), Some(&labels), &named()).unwrap();
    assert_eq!((dataset.images.len(), dataset.notes.len()), (1, 1));
}

#[test]
fn a_name_that_two_images_answer_to_is_refused_naming_both() {
    let data = folder(&["one/a.jpg", "two/a.jpg", "two/b.png", "two/b.jpg"]);
    let labels = data.path().join("labels.csv");
    for (name, both) in [("a.jpg", ["one/a.jpg", "two/a.jpg"]), ("b", ["two/b.jpg", "two/b.png"])] {
        std::fs::write(&labels, format!("{name},cat\n")).unwrap();
        let error = Dataset::open(&labels, None, &named()).unwrap_err().to_string();
        assert!(error.contains("line 1") && both.iter().all(|path| error.contains(path)), "{error}");
    }
    std::fs::write(&labels, "one/a.jpg,cat\ntwo/a.jpg,hound\nb.png,2\n").unwrap();
    let dataset = Dataset::open(&labels, None, &named()).unwrap();
    let expected = [("one/a.jpg", 0), ("two/a.jpg", 1), ("two/b.png", 2)];
    assert_eq!(found(data.path(), &dataset), expected.map(|(name, class)| (name.to_owned(), class)));
}

#[test]
fn an_image_listed_twice_is_refused_with_both_lines() {
    let data = folder(&["a.jpg", "b.jpg"]);
    let labels = data.path().join("labels.csv");
    std::fs::write(&labels, "a.jpg,cat\nb.jpg,cat\na,hound\n").unwrap();
    let error = Dataset::open(&labels, None, &named()).unwrap_err().to_string();
    assert!(error.contains("line 3") && error.contains("line 1") && error.contains("a.jpg"), "{error}");
}

#[test]
fn each_model_gets_the_same_images_with_its_own_classes() {
    let data = folder(&["cat/1.jpg", "hound/2.jpg"]);
    let models = [named(), classes(r#"["white shark","hound","cat"]"#)];
    let datasets = Dataset::for_models(data.path(), None, &models).unwrap();
    let of = |at: usize| datasets[at].images.iter().map(|image| image.class).collect::<Vec<_>>();
    assert_eq!((of(0), of(1)), (vec![0, 1], vec![2, 1]));
    std::fs::write(data.path().join("labels.csv"), "cat/1.jpg,0\n").unwrap();
    let models = [named(), classes(r#"["white shark","wolf","cat"]"#)];
    let error = Dataset::for_models(data.path(), None, &models).unwrap_err().to_string();
    assert!(error.contains("do not find the same images"), "{error}");
}

#[test]
fn a_model_without_names_takes_the_numbers_of_the_first_that_names_as_many() {
    let data = folder(&["cat/1.jpg", "hound/2.jpg"]);
    let counted = |labels: &str, count: Option<usize>| {
        let mut classes = classes(labels);
        classes.count = count;
        classes
    };
    let mut models = [classes(""), counted(r#"["hound","cat"]"#, Some(2)), named(), counted("", None)];
    models[0].model = "mute.onnx".into();
    let datasets = Dataset::for_models(data.path(), None, &models).unwrap();
    let of = |at: usize| datasets[at].images.iter().map(|image| image.class).collect::<Vec<_>>();
    assert_eq!([of(0), of(1), of(2), of(3)], [vec![0, 1], vec![1, 0], vec![0, 1], vec![1, 0]]);
    assert!(datasets[0].notes[0].to_string().contains("mute.onnx names no classes"), "{:?}", datasets[0].notes);
    assert!(datasets[2].notes.is_empty(), "{:?}", datasets[2].notes);
    let error = Dataset::for_models(data.path(), None, &[named(), counted("", Some(4))]).unwrap_err().to_string();
    assert!(error.contains("knows no classes cat"), "{error}");
}

#[test]
fn a_folder_without_any_of_it_is_an_error() {
    let data = folder(&["a.jpg"]);
    let error = Dataset::open(data.path(), None, &named()).unwrap_err().to_string();
    assert!(error.contains("neither class folders"), "{error}");
    assert!(matches!(Dataset::open(Path::new("/no/such"), None, &named()), Err(DatasetError::Io { .. })));
}

#[cfg(unix)]
#[test]
fn an_image_that_links_put_under_two_classes_is_told() {
    let data = folder(&["cat/1.jpg", "cat/2.jpg", "hound/3.jpg"]);
    let open = || Dataset::open(data.path(), None, &named()).unwrap();
    assert!(open().notes.is_empty());
    std::os::unix::fs::symlink("../cat", data.path().join("hound/more")).unwrap();
    let dataset = open();
    assert_eq!(dataset.images.len(), 5);
    let [Note::SameImages { count: 2, in_several_classes: true, first, again }] = &dataset.notes[..] else {
        panic!("{:?}", dataset.notes);
    };
    assert!(first.ends_with("cat/1.jpg") && again.ends_with("hound/more/1.jpg"), "{first} {again}");
}
