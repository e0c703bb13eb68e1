//! Shapes that are asked for: what a model leaves open, fixed for one run.

use serde::{Deserialize, Serialize};

use super::file::{ModelFile, Port};

/// Most extents of an input.
const MOST_EXTENTS: usize = 16;

/// The shape of an input, as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputShape {
    /// The input; the only one where none is named.
    pub name: Option<String>,
    /// Its extents; `None` for those that stay open.
    pub extents: Vec<Option<usize>>,
}

/// Why a model's input does not take a shape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// No input has the name.
    #[error("no input is called '{name}'; the inputs are: {inputs}")]
    NoInput {
        /// The name.
        name: String,
        /// Names, types and shapes of the inputs.
        inputs: String,
    },
    /// Nothing is named, and there are several.
    #[error("a shape without a name is for models of one input; write NAME:{shape} for one of: {inputs}")]
    Unnamed {
        /// The shape.
        shape: String,
        /// Names, types and shapes of the inputs.
        inputs: String,
    },
    /// The model fixes an extent at something else, or has another number of them.
    #[error("the shape {shape} is none of input {input}")]
    Unfit {
        /// The shape.
        shape: String,
        /// The input's name, type and shape.
        input: String,
    },
}

impl InputShape {
    /// `NAME:1x3x224x224`, or the shape alone; `?` stays open. A name may hold colons.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<InputShape, String> {
        let (name, shape) = match text.rsplit_once(':') {
            Some((name, shape)) => (Some(name), shape),
            None => (None, text),
        };
        let extent = |text: &str| match text {
            "?" | "*" | "-1" => Some(None),
            _ => text.parse().ok().filter(|extent| *extent > 0).map(Some),
        };
        let extents: Option<Vec<Option<usize>>> = shape.split('x').map(extent).collect();
        let known = extents.filter(|extents| extents.len() <= MOST_EXTENTS).filter(|_| name != Some(""));
        let extents = known.ok_or("it must be an input and its shape, such as input:1x3x224x224; ? stays open")?;
        Ok(InputShape { name: name.map(str::to_owned), extents })
    }

    /// What `port` becomes.
    fn on(&self, port: &Port) -> Result<Port, ShapeError> {
        let unfit = || ShapeError::Unfit { shape: self.shape(), input: port.to_string() };
        let Some(declared) = &port.shape else {
            return Ok(Port { shape: Some(self.extents.clone()), ..port.clone() });
        };
        if declared.len() != self.extents.len() {
            return Err(unfit());
        }
        let extent = |(declared, asked): (&Option<usize>, &Option<usize>)| match (declared, asked) {
            (Some(declared), Some(asked)) if declared != asked => Err(unfit()),
            _ => Ok(asked.or(*declared)),
        };
        let shape = declared.iter().zip(&self.extents).map(extent).collect::<Result<_, _>>()?;
        Ok(Port { shape: Some(shape), ..port.clone() })
    }

    fn shape(&self) -> String {
        let extent = |extent: &Option<usize>| extent.map_or_else(|| "?".to_owned(), |extent| extent.to_string());
        self.extents.iter().map(extent).collect::<Vec<_>>().join("x")
    }
}

impl ModelFile {
    /// Takes the shapes of its inputs from `shapes`; nothing changes where one does not fit.
    ///
    /// # Errors
    /// [`ShapeError`].
    pub fn shape(&mut self, shapes: &[InputShape]) -> Result<(), ShapeError> {
        let all = || self.inputs.iter().map(Port::to_string).collect::<Vec<_>>().join("; ");
        let (mut inputs, mut shaped) = (self.inputs.clone(), self.shaped.clone());
        for asked in shapes {
            let at = match &asked.name {
                Some(name) => {
                    let missing = || ShapeError::NoInput { name: name.clone(), inputs: all() };
                    inputs.iter().position(|port| port.name == *name).ok_or_else(missing)?
                }
                None if inputs.len() == 1 => 0,
                None => return Err(ShapeError::Unnamed { shape: asked.shape(), inputs: all() }),
            };
            inputs[at] = asked.on(&inputs[at])?;
            shaped.insert(inputs[at].name.clone(), inputs[at].shape.clone().unwrap_or_default());
        }
        (self.inputs, self.shaped) = (inputs, shaped);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use onnx_file::proto::tensor_proto::DataType;

    use super::*;
    use crate::model::file::tests::{file, value};

    #[test]
    fn a_shape_is_a_name_and_extents_of_which_some_may_stay_open() {
        let shape = |name: Option<&str>, extents: &[Option<usize>]| {
            Ok(InputShape { name: name.map(str::to_owned), extents: extents.to_vec() })
        };
        assert_eq!(InputShape::parse("x:1x3x8x9"), shape(Some("x"), &[Some(1), Some(3), Some(8), Some(9)]));
        assert_eq!(InputShape::parse("serving:0:?x3"), shape(Some("serving:0"), &[None, Some(3)]));
        assert_eq!(InputShape::parse("4"), shape(None, &[Some(4)]));
        for wrong in ["", "x", "x:", ":1x3", "x:0x3", "x:1x-3", "x:1,3", "x:1x", &format!("x:1{}", "x1".repeat(16))] {
            assert!(InputShape::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_open_is_fixed_and_what_is_fixed_stays() {
        let inputs = || vec![value("x", DataType::Float, &[-1, 3, -1, -1]), value("ids", DataType::Int64, &[-1])];
        let mut model = file(inputs(), &[]);
        let asked = |text: &str| [InputShape::parse(text).unwrap()];
        model.shape(&asked("x:?x3x32x48")).unwrap();
        assert_eq!(model.inputs[0].shape, Some(vec![None, Some(3), Some(32), Some(48)]));
        assert_eq!(model.shaped.len(), 1);
        let before = model.inputs.clone();
        for (text, why) in [
            ("x:1x4x32x48", "the shape 1x4x32x48 is none of input x f32 [?, 3, 32, 48]"),
            ("x:1x3x32", "is none of input x"),
            ("y:1x3x32x48", "no input is called 'y'"),
            ("1x3x32x48", "write NAME:1x3x32x48"),
        ] {
            let error = model.shape(&asked(text)).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert_eq!(model.inputs, before);
    }
}
