//! Steps of training: as they are, or each launched as one CUDA graph.

#[cfg(feature = "cuda")]
use chainrule::cuda::CudaGraph;
use chainrule::{Device, Error, Result};

/// What steps are launched through.
pub(crate) struct Steps {
    #[cfg(feature = "cuda")]
    graph: Option<CudaGraph>,
}

impl Steps {
    /// Steps on `device`, as graphs where that is asked for.
    pub(crate) fn new(device: &Device, as_graphs: bool) -> Result<Steps> {
        match device {
            #[cfg(feature = "cuda")]
            Device::Cuda(device) => Ok(Steps { graph: as_graphs.then(|| device.graph()) }),
            _ if as_graphs => {
                let message = format!("{device} launches no graphs: use --device cuda:0 or cuda-emu, or leave it out");
                Err(Error::argument("--graph", message))
            }
            _ => Ok(Steps {
                #[cfg(feature = "cuda")]
                graph: None,
            }),
        }
    }

    /// Runs a step. It must not read from the device: what it gives can be read afterwards.
    pub(crate) fn run<T>(&mut self, step: impl FnOnce() -> Result<T>) -> Result<T> {
        #[cfg(feature = "cuda")]
        if let Some(graph) = &mut self.graph {
            return graph.step(step);
        }
        step()
    }
}
