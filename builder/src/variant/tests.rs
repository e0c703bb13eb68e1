use super::*;

#[test]
fn every_spelling_of_a_network_is_understood() {
    for (name, canonical) in [
        ("50_32x4d", "50_32x4d"),
        ("resnext50_32x4d", "50_32x4d"),
        ("resnext50_32x4d.a1h_in1k", "50_32x4d"),
        ("ResNeXt101_64x4d", "101_64x4d"),
        ("tv_resnext50_32x4d", "50_32x4d"),
        ("26_32x4d", "26_32x4d"),
        ("200_64x4d", "200_64x4d"),
        ("50_1x64d", "resnet50"),
        ("resnet18", "resnet18"),
        ("resnet34", "resnet34"),
        ("resnet152", "resnet152"),
        ("wide_resnet50_2", "wide_resnet50_2"),
        ("wide_resnet101_2", "wide_resnet101_2"),
        ("ig_resnext101_32x16d", "101_32x16d"),
        ("resnext101_32x48d_wsl", "101_32x48d"),
        ("32x32d", "101_32x32d"),
        ("29_8x64d", "29_8x64d"),
        ("29_16x64d", "29_16x64d"),
        ("resnext50_32x4d_swsl", "50_32x4d"),
        ("gluon_resnet50_v1b", "resnet50"),
        ("hf_hub:timm/resnext50_32x4d.tv2_in1k", "50_32x4d"),
        ("50_2x40d", "50_2x40d"),
        ("swsl_resnext50_32x4d", "50_32x4d"),
        ("gluon_resnext101_64x4d", "101_64x4d"),
    ] {
        assert_eq!(Variant::parse(name).map(|v| v.to_string()), Ok(canonical.to_string()), "{name}");
    }
}

#[test]
fn relatives_and_nonsense_are_refused_by_name() {
    for name in ["resnext50d_32x4d", "resnet50d", "seresnext50_32x4d", "ecaresnet50d", "resnext26ts", "resnest50"] {
        assert!(
            matches!(Variant::parse(name), Err(VariantError::OtherArchitecture { .. } | VariantError::Unknown { .. })),
            "{name}"
        );
    }
    for name in ["", "50", "50_32x4", "50_x4d", "resnext", "50_32x4d_v2", "vgg16", "99999999999999999999_1x1d"] {
        assert!(matches!(Variant::parse(name), Err(VariantError::Unknown { .. })), "{name}");
    }
    assert!(matches!(Variant::parse("77_32x4d"), Err(VariantError::Depth { depth: 77 })));
    assert!(matches!(Variant::parse("50_0x4d"), Err(VariantError::Range { .. })));
}

#[test]
fn a_tag_says_whose_weights_a_name_means() {
    for (name, tag) in [
        ("resnext50_32x4d", None),
        ("resnext50_32x4d.a1h_in1k", Some("a1h_in1k")),
        ("50_32x4d.tv2_in1k", Some("tv2_in1k")),
        ("resnext101_32x8d_wsl", Some("fb_wsl_ig1b_ft_in1k")),
        ("swsl_resnext50_32x4d", Some("fb_swsl_ig1b_ft_in1k")),
        ("resnext50_32x4d_ssl", Some("fb_ssl_yfcc100m_ft_in1k")),
        ("gluon_resnext101_64x4d", Some("gluon_in1k")),
    ] {
        assert_eq!(Named::parse_with(name, &[]).map(|named| named.tag), Ok(tag), "{name}");
    }
    let said = Variant::parse("resnext50_32x4d.a1_in1").unwrap_err().to_string();
    assert!(said.contains("tv2_in1k, fb_ssl") && said.contains("did you mean 'a1_in1k' or"), "{said}");
    for name in ["resnext50_32x4d.nonsense", "26_32x4d.a1_in1k", "ig_resnext50_32x4d", "resnext50_32x4d."] {
        assert!(matches!(Variant::parse(name), Err(VariantError::Tag(_))), "{name}");
    }
}

#[test]
fn a_name_that_is_nearly_one_or_begins_like_one_is_answered_with_it() {
    for (name, near) in [
        ("resnext50_32x4", "resnext50_32x4d"),
        ("resnext50-32x4d", "resnext50_32x4d"),
        ("resnext50", "resnext50_32x4d"),
        ("50", "50_32x4d"),
        ("ResNeXt50_32X4D_Weights", "resnext50_32x4d"),
    ] {
        let said = Variant::parse(name).unwrap_err().to_string();
        assert!(said.contains(&format!("'{near}'")), "{said}");
    }
}

#[test]
fn grouping_a_two_layer_block_names_the_dense_block_it_equals() {
    let error = Variant::parse("18_32x4d").unwrap_err();
    assert_eq!(error, VariantError::GroupedBasic { cardinality: 32, width: 4, dense: 128 });
    assert!(error.to_string().contains("dense block of width 128"));
}

#[test]
fn widths_are_the_papers() {
    let variant = Variant::parse("50_32x4d").unwrap();
    assert_eq!([0, 1, 2, 3].map(|s| variant.width(s)), [128, 256, 512, 1024]);
    assert_eq!([0, 1, 2, 3].map(|s| variant.out_channels(s)), [256, 512, 1024, 2048]);
    // Table 2: width of the 3x3 at equal cost.
    for (name, width) in [("resnet50", 64), ("50_2x40d", 80), ("50_4x24d", 96), ("50_8x14d", 112), ("50_32x4d", 128)] {
        assert_eq!(Variant::parse(name).unwrap().width(0), width);
    }
}

#[test]
fn what_is_shown_of_a_network_is_read_back() {
    for name in ["50_32x4d", "resnet18", "29_8x64d", "wide_resnet50_2"] {
        let variant = Variant::parse(name).unwrap();
        let outside = Variant { blocks: vec![1, 2, 1], planes: variant.planes, ..variant.clone() };
        for variant in [variant, outside] {
            assert_eq!(Variant::parse_described(&variant.to_string()), Some(variant));
        }
    }
}
