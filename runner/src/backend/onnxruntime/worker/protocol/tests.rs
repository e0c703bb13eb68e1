use super::*;

fn tensors() -> Vec<Tensor> {
    let tensor = |name: &str, shape: &[usize], data| Tensor { name: name.into(), shape: shape.to_vec(), data };
    vec![
        tensor("a", &[2, 1], Data::F32(vec![1.5, f32::NAN])),
        tensor("b", &[0, 3], Data::F64(vec![])),
        tensor("c", &[], Data::I64(vec![i64::MIN])),
        tensor("d", &[3], Data::U8(vec![0, 128, 255])),
        tensor("e", &[1, 2], Data::F16(vec![f16::from_f32(0.1), f16::INFINITY])),
        tensor("f", &[2], Data::I8(vec![i8::MIN, i8::MAX])),
        tensor("g", &[2, 1], Data::I32(vec![i32::MIN, i32::MAX])),
        tensor("h", &[3], Data::Bool(vec![true, false, true])),
    ]
}

#[test]
fn a_frame_carries_every_element_type_bit_by_bit() {
    let mut frame = Vec::new();
    send(&mut frame, &Reply::Tensors, &tensors()).expect("written");
    let (message, read): (Reply, _) = receive(&mut frame.as_slice(), Vec::new()).expect("read");
    assert!(matches!(message, Reply::Tensors));
    assert_eq!(read.len(), tensors().len());
    for (sent, read) in tensors().iter().zip(&read) {
        assert_eq!((&sent.name, &sent.shape), (&read.name, &read.shape));
        assert_eq!(bytes(&sent.data), bytes(&read.data));
    }
}

#[test]
fn some_rows_are_a_frame_of_their_own_and_old_room_is_used_again() {
    let values: Vec<f32> = (0..6).map(|value| value as f32).collect();
    let tensor = Tensor { name: "x".into(), shape: vec![3, 2], data: Data::F32(values) };
    let buffer = vec![7; 1000];
    let at = buffer.as_ptr();
    let frame = encode(&Reply::Tensors, std::slice::from_ref(&tensor), Some(&(1..3)), buffer).expect("rows");
    assert_eq!(frame.as_ptr(), at, "the frame lies where the old one lay");
    let values = vec![0f32; 100];
    let at = values.as_ptr();
    let old = vec![Tensor { name: "old".into(), shape: vec![100], data: Data::F32(values) }];
    let (_, read) = receive::<Reply>(&mut frame.as_slice(), old).expect("read");
    assert!(matches!(&read[0].data, Data::F32(data) if data.as_ptr() == at), "and so do the values");
    let expected = Tensor { shape: vec![2, 2], data: Data::F32(vec![2.0, 3.0, 4.0, 5.0]), ..tensor.clone() };
    assert_eq!(read, [expected]);
    for (rows, shape) in [(2..4, vec![3, 2]), (0..1, vec![])] {
        let count = shape.iter().product();
        let tensor = Tensor { name: "x".into(), shape, data: Data::U8(vec![0; count]) };
        let refused = encode(&Reply::Tensors, &[tensor], Some(&rows), Vec::new());
        assert!(matches!(refused, Err(ProtocolError::Shape(name)) if name == "x"), "{rows:?}");
    }
}

#[test]
fn a_frame_cut_anywhere_is_an_error_and_never_a_panic() {
    let frame = encode(&Reply::Tensors, &tensors(), None, Vec::new()).expect("encoded");
    for length in 0..frame.len() {
        let result = receive::<Reply>(&mut &frame[..length], Vec::new());
        assert!(matches!(result, Err(ProtocolError::Ended)), "cut at {length}");
    }
}

#[test]
fn a_frame_with_any_byte_changed_is_never_a_panic() {
    let frame = encode(&Reply::Tensors, &tensors(), None, Vec::new()).expect("encoded");
    for at in 0..frame.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut changed = frame.clone();
            changed[at] = value;
            let _ = receive::<Reply>(&mut changed.as_slice(), Vec::new());
        }
    }
}

#[test]
fn text_and_other_versions_are_told_apart() {
    let text = receive::<Reply>(&mut "warning: hello".as_bytes(), Vec::new());
    assert!(matches!(text, Err(ProtocolError::Garbage(bytes)) if &bytes == b"warn"), "{text:?}");
    let mut frame = encode(&Reply::Tensors, &[], None, Vec::new()).expect("encoded");
    frame[3] = VERSION + 1;
    let newer = receive::<Reply>(&mut frame.as_slice(), Vec::new());
    assert!(matches!(newer, Err(ProtocolError::Version(2))), "{newer:?}");
}

#[test]
fn an_empty_tensor_must_be_of_a_shape_that_has_a_size() {
    assert_eq!(size(&[0, 3], ElementType::F32), Some(0));
    assert_eq!(size(&[2, 3], ElementType::F64), Some(48));
    assert_eq!(size(&[0, usize::MAX, 2], ElementType::U8), None);
    assert_eq!(size(&[usize::MAX, 0], ElementType::F32), None);
}

#[test]
fn a_header_that_describes_more_than_was_sent_is_refused_before_anything_is_allocated() {
    let tensor = Tensor { name: "a".into(), shape: vec![2], data: Data::U8(vec![1, 2]) };
    let frame = encode(&Reply::Tensors, &[tensor], None, Vec::new()).expect("encoded");
    let text = String::from_utf8_lossy(&frame).into_owned();
    let at = text.find("[2]").expect("the shape");
    let mut changed = frame.clone();
    changed[at + 1] = b'9';
    assert!(matches!(receive::<Reply>(&mut changed.as_slice(), Vec::new()), Err(ProtocolError::Size)));
}
