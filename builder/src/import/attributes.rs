//! Attributes of nodes, and the operators that they make.

use onnx_file::element::ElementType;
use onnx_file::proto::AttributeProto;

use crate::graph::{Conv, Op, Pool};

/// Height and width of a node's input, which automatic padding depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Plane {
    /// As far as they are fixed.
    Of([Option<usize>; 2]),
    /// Whoever asks has no use for padding that depends on them.
    Irrelevant,
}

/// A window that moves over a plane.
struct Window {
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
}

/// A node's attributes; each must be known to the operator that has it.
pub(crate) struct Attributes<'a>(pub(crate) &'a [AttributeProto]);

impl Attributes<'_> {
    /// The operator called `name` with these attributes, or why it is not understood. `weight` is the shape of its second
    /// input, which a convolution's window follows where it is not written, and `plane` that of its first.
    pub(crate) fn op(&self, name: &str, weight: &[i64], plane: Plane) -> Result<Op, String> {
        match name {
            "Conv" => {
                self.only(&["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"])?;
                let group = usize::try_from(self.int("group", 1)).map_err(|_| "a negative group")?;
                let window = match *weight {
                    [_, _, height, width] => usize::try_from(height).ok().zip(usize::try_from(width).ok()),
                    _ => None,
                };
                let kernel = self.sizes("kernel_shape", window.map(|(height, width)| [height, width]))?;
                let window = self.window(kernel)?;
                let padding = self.padding(&window, plane)?;
                let Window { kernel, stride, dilation } = window;
                Ok(Op::Conv(Conv { group, kernel, stride, padding, dilation }))
            }
            "BatchNormalization" => {
                self.only(&["epsilon", "momentum", "training_mode", "spatial"])?;
                self.expect("training_mode", 0)?;
                self.expect("spatial", 1)?;
                let stored = self.get("epsilon").map_or(1e-5, |a| f64::from(a.f));
                // The attribute is a binary32; 1e-5 means the decimal that every framework computes with.
                Ok(Op::BatchNorm { epsilon: if stored == f64::from(1e-5f32) { 1e-5 } else { stored } })
            }
            "Relu" => self.only(&[]).map(|()| Op::Relu),
            "Add" => self.only(&[]).map(|()| Op::Add),
            "Sum" => self.only(&[]).map(|()| Op::Sum),
            "Concat" => {
                self.only(&["axis"])?;
                self.expect("axis", 1).map(|()| Op::Concat)
            }
            "MaxPool" => {
                self.only(&["auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "storage_order", "strides"])?;
                let window = self.window(self.sizes("kernel_shape", None)?)?;
                if window.dilation != [1; 2] {
                    return Err("dilated pooling".into());
                }
                let padding = self.padding(&window, plane)?;
                if self.int("ceil_mode", 0) != 0 && !rounds_alike(&window, padding, plane) {
                    return Err("its ceil_mode makes a larger plane than a ResNet's pooling".into());
                }
                Ok(Op::MaxPool(Pool { kernel: window.kernel, stride: window.stride, padding }))
            }
            "AveragePool" => {
                let known =
                    ["auto_pad", "ceil_mode", "count_include_pad", "dilations", "kernel_shape", "pads", "strides"];
                self.only(&known)?;
                let window = self.window(self.sizes("kernel_shape", None)?)?;
                let whole = matches!(plane, Plane::Of(plane) if plane == window.kernel.map(Some));
                if whole && window.dilation == [1; 2] && self.padding(&window, plane)? == [0; 4] {
                    Ok(Op::GlobalAveragePool)
                } else {
                    Err("it takes means over less than the whole plane".into())
                }
            }
            "GlobalAveragePool" => self.only(&[]).map(|()| Op::GlobalAveragePool),
            // max(x, 0), where nothing bounds it from above.
            "Clip" if self.get("min").is_some_and(|a| a.f == 0.0) && self.get("max").is_none() => {
                self.only(&["min"]).map(|()| Op::Relu)
            }
            "QuantizeLinear" | "DequantizeLinear" => {
                self.only(&["axis", "block_size", "output_dtype", "precision", "saturate"])?;
                for attribute in ["block_size", "output_dtype", "precision"] {
                    self.expect(attribute, 0)?;
                }
                let axis = usize::try_from(self.int("axis", 1)).map_err(|_| "an axis counted from the end")?;
                let quantize = name == "QuantizeLinear";
                Ok(if quantize { Op::QuantizeLinear { axis } } else { Op::DequantizeLinear { axis } })
            }
            // Where it starts and how much it adds stands in constants.
            "Slice" => self.only(&[]).map(|()| Op::Slice { start: 0, len: 0 }),
            "Pad" => {
                self.only(&["mode"])?;
                match self.get("mode") {
                    Some(mode) if &mode.s[..] != b"constant" => Err("only a constant is filled in".into()),
                    _ => Ok(Op::Pad { channels: 0 }),
                }
            }
            "Clip" => self.only(&[]).map(|()| Op::Clip),
            // To which type is for the value it makes to say. `saturate` is about float8.
            "Cast" => self.only(&["to", "saturate"]).map(|()| Op::Cast),
            _ => Err("no operator of a ResNet or ResNeXt".into()),
        }
    }

    /// The type that a Cast converts to.
    pub(super) fn cast_to(&self) -> Result<ElementType, String> {
        let number = self.int("to", 0);
        let element = i32::try_from(number).ok().and_then(ElementType::from_proto);
        element.ok_or_else(|| format!("it converts to ONNX type {number}, which is not known here"))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&AttributeProto> {
        self.0.iter().find(|a| a.name == name)
    }

    pub(super) fn only(&self, known: &[&str]) -> Result<(), String> {
        match self.0.iter().find(|a| !known.contains(&a.name.as_str())) {
            Some(attribute) => Err(format!("its attribute '{}' is not understood", attribute.name)),
            None => Ok(()),
        }
    }

    pub(crate) fn int(&self, name: &str, default: i64) -> i64 {
        self.get(name).map_or(default, |a| a.i)
    }

    fn expect(&self, name: &str, value: i64) -> Result<(), String> {
        let found = self.int(name, value);
        if found == value { Ok(()) } else { Err(format!("{name} is {found}, not {value}")) }
    }

    fn ints<const N: usize>(&self, name: &str, default: Option<[usize; N]>) -> Result<[usize; N], String> {
        let Some(attribute) = self.get(name) else { return default.ok_or_else(|| format!("it lacks '{name}'")) };
        let sizes: Option<Vec<usize>> =
            attribute.ints.iter().map(|&n| usize::try_from(n).ok().filter(|n| *n < 1 << 16)).collect();
        sizes
            .and_then(|s| s.try_into().ok())
            .ok_or_else(|| format!("{name} is {:?}; two dimensions are needed", attribute.ints))
    }

    /// Extents of a window: at least 1.
    fn sizes(&self, name: &str, default: Option<[usize; 2]>) -> Result<[usize; 2], String> {
        let sizes = self.ints(name, default)?;
        if sizes.contains(&0) { Err(format!("{name} holds a zero")) } else { Ok(sizes) }
    }

    fn window(&self, kernel: [usize; 2]) -> Result<Window, String> {
        let [stride, dilation] = [self.sizes("strides", Some([1; 2]))?, self.sizes("dilations", Some([1; 2]))?];
        Ok(Window { kernel, stride, dilation })
    }

    /// Zeros at top, left, bottom and right (ONNX Conv-11, `auto_pad`).
    fn padding(&self, window: &Window, plane: Plane) -> Result<[usize; 4], String> {
        let automatic = self.get("auto_pad").map_or(&b""[..], |a| &a.s);
        let more_at_end = match automatic {
            b"" | b"NOTSET" => return self.ints("pads", Some([0; 4])),
            b"VALID" => return Ok([0; 4]),
            b"SAME_UPPER" => true,
            b"SAME_LOWER" => false,
            other => return Err(format!("its auto_pad is '{}', which is not known", String::from_utf8_lossy(other))),
        };
        let mut padding = [0; 4];
        for axis in 0..2 {
            let reach = (window.kernel[axis] - 1) * window.dilation[axis] + 1;
            let stride = window.stride[axis];
            let total = match plane {
                _ if stride == 1 => reach - 1,
                _ if reach == 1 => 0,
                Plane::Irrelevant => 0,
                Plane::Of(extents) => {
                    let extent = extents[axis].ok_or("its automatic padding depends on a size that is open")?;
                    (extent.div_ceil(stride).saturating_sub(1) * stride + reach).saturating_sub(extent)
                }
            };
            let (less, more) = (total / 2, total - total / 2);
            [padding[axis], padding[axis + 2]] = if more_at_end { [less, more] } else { [more, less] };
        }
        Ok(padding)
    }
}

/// Whether the last window ends where the plane does, so that rounding its position up or down is the same.
fn rounds_alike(window: &Window, padding: [usize; 4], plane: Plane) -> bool {
    let Plane::Of(extents) = plane else { return false };
    (0..2).all(|axis| {
        let rest = extents[axis].and_then(|n| (n + padding[axis] + padding[axis + 2]).checked_sub(window.kernel[axis]));
        rest.is_some_and(|rest| rest % window.stride[axis] == 0)
    })
}
