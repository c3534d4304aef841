//! A GPU through NVIDIA's driver, which is loaded when the first device is opened.

mod recording;

use std::ffi::{CStr, CString, c_void};
use std::ptr::{null, null_mut};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cudarc::driver::sys::{self, CUresult};

use recording::Staging;

use super::engine::{Engine, Function, Graph, Launched, Mark, Module};
use super::nvrtc::{self, Architecture};
use super::params::Params;
use super::tensor_map::{Layout, Swizzle, TensorMap};
use super::{Unit, cache, source};
use crate::{DType, Error, ErrorKind, Result};

/// Shared memory that every kernel may have; more has to be asked for.
const DEFAULT_SHARED_BYTES: usize = 48 << 10;

/// One GPU with its primary context and one stream, on which all work goes in order.
pub(crate) struct Driver {
    name: String,
    model: String,
    context: sys::CUcontext,
    stream: sys::CUstream,
    architecture: Architecture,
    multiprocessors: usize,
    max_shared_bytes: usize,
    staging: Mutex<Staging>,
}

// SAFETY: contexts and streams may be used from any thread; each call makes the context current first.
unsafe impl Send for Driver {}
// SAFETY: as for `Send`; the driver locks what it shares.
unsafe impl Sync for Driver {}

impl Driver {
    pub(crate) fn new(ordinal: usize) -> Result<Driver> {
        // SAFETY: this only tries to load the library.
        if !unsafe { sys::is_culib_present() } {
            return Err(missing("no NVIDIA driver: libcuda.so.1 was not found on the loader's path"));
        }
        nvrtc::present()?;
        // SAFETY: the library is there; this is the first call of it, as it asks.
        check("cuInit", unsafe { sys::cuInit(0) })?;
        let mut count = 0;
        // SAFETY: the number outlives the call.
        check("cuDeviceGetCount", unsafe { sys::cuDeviceGetCount(&mut count) })?;
        if ordinal >= count as usize {
            return Err(missing(&format!("there is no device cuda:{ordinal}: this machine has {count}")));
        }
        let mut device = 0;
        // SAFETY: the ordinal is below the count.
        check("cuDeviceGet", unsafe { sys::cuDeviceGet(&mut device, ordinal as i32) })?;
        let mut model = [0; 256];
        // SAFETY: the driver writes at most that many bytes, with a NUL.
        check("cuDeviceGetName", unsafe { sys::cuDeviceGetName(model.as_mut_ptr(), model.len() as i32, device) })?;
        // SAFETY: the name ends with a NUL within the array.
        let model = unsafe { CStr::from_ptr(model.as_ptr()) }.to_string_lossy().into_owned();
        let attribute = |which| {
            let mut value = 0;
            // SAFETY: the number outlives the call.
            check("cuDeviceGetAttribute", unsafe { sys::cuDeviceGetAttribute(&mut value, which, device) })?;
            Ok::<_, Error>(value as usize)
        };
        use sys::CUdevice_attribute as A;
        let major = attribute(A::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let minor = attribute(A::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        let multiprocessors = attribute(A::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?;
        let max_shared_bytes = attribute(A::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?;
        let (mut context, mut stream) = (null_mut(), null_mut());
        // SAFETY: the device exists; the context is kept as long as the process lives.
        check("cuDevicePrimaryCtxRetain", unsafe { sys::cuDevicePrimaryCtxRetain(&mut context, device) })?;
        // SAFETY: the context was just retained.
        check("cuCtxSetCurrent", unsafe { sys::cuCtxSetCurrent(context) })?;
        let flags = sys::CUstream_flags::CU_STREAM_NON_BLOCKING as u32;
        // SAFETY: the context is current.
        check("cuStreamCreate", unsafe { sys::cuStreamCreate(&mut stream, flags) })?;
        let architecture = Architecture { number: (major * 10 + minor) as u32 };
        let name = format!("cuda:{ordinal}");
        let staging = Mutex::default();
        Ok(Driver { name, model, context, stream, architecture, multiprocessors, max_shared_bytes, staging })
    }

    /// Makes the context current on this thread.
    fn bind(&self) -> Result<()> {
        // SAFETY: the context is retained.
        check("cuCtxSetCurrent", unsafe { sys::cuCtxSetCurrent(self.context) })
    }

    fn staging(&self) -> MutexGuard<'_, Staging> {
        self.staging.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine for Driver {
    fn name(&self) -> &str {
        &self.name
    }

    fn model(&self) -> &str {
        &self.model
    }

    fn multiprocessors(&self) -> usize {
        self.multiprocessors
    }

    fn max_shared_bytes(&self) -> usize {
        self.max_shared_bytes
    }

    fn architecture(&self) -> Architecture {
        self.architecture
    }

    fn is_synchronous(&self) -> bool {
        false
    }

    fn allocate(&self, len_bytes: usize) -> Result<Option<u64>> {
        self.bind()?;
        let mut address = 0;
        // SAFETY: the address outlives the call.
        match unsafe { sys::cuMemAlloc_v2(&mut address, len_bytes) } {
            CUresult::CUDA_ERROR_OUT_OF_MEMORY => Ok(None),
            result => check("cuMemAlloc", result).map(|()| Some(address)),
        }
    }

    fn free(&self, address: u64) {
        // A failure here was one of an earlier launch, which the next call reports.
        let _ = self.bind().and_then(|()| {
            // SAFETY: the address came from `allocate` and is freed once.
            check("cuMemFree", unsafe { sys::cuMemFree_v2(address) })
        });
    }

    fn upload(&self, to: u64, bytes: &[u8]) -> Result<()> {
        self.bind()?;
        let from = self.staging().copy_of(bytes)?.unwrap_or(bytes.as_ptr());
        // SAFETY: `to` has room for the bytes. The caller's memory, which is pageable, is staged before the call returns;
        // a copy of it lasts until the launch of the recording has read it.
        check("cuMemcpyHtoDAsync", unsafe { sys::cuMemcpyHtoDAsync_v2(to, from.cast(), bytes.len(), self.stream) })
    }

    fn download(&self, from: u64, bytes: &mut [u8]) -> Result<()> {
        self.bind()?;
        // SAFETY: `from` holds that many bytes, and the copy has ended before `bytes` can be used again.
        check("cuMemcpyDtoHAsync", unsafe {
            sys::cuMemcpyDtoHAsync_v2(bytes.as_mut_ptr().cast(), from, bytes.len(), self.stream)
        })?;
        self.synchronize()
    }

    fn set_bytes(&self, at: u64, value: u8, len_bytes: usize) -> Result<()> {
        self.bind()?;
        // SAFETY: the memory has that many bytes.
        check("cuMemsetD8Async", unsafe { sys::cuMemsetD8Async(at, value, len_bytes, self.stream) })
    }

    fn tensor_map(&self, layout: &Layout) -> Result<TensorMap> {
        self.bind()?;
        let mut map = sys::CUtensorMap { opaque: [0; 16] };
        let (dtype, swizzle) = (tensor_map_dtype(layout.dtype), tensor_map_swizzle(layout.swizzle));
        // SAFETY: the arrays have the map's number of dims at least, and all outlive the call.
        check("cuTensorMapEncodeTiled", unsafe {
            sys::cuTensorMapEncodeTiled(
                &mut map,
                dtype,
                layout.rank as u32,
                layout.address as *mut c_void,
                layout.sizes.as_ptr(),
                layout.strides_bytes.as_ptr(),
                layout.tile.as_ptr(),
                [1u32; 4].as_ptr(),
                sys::CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE,
                swizzle,
                sys::CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
                sys::CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
            )
        })?;
        Ok(TensorMap(map.opaque))
    }

    fn load(&self, unit: &Unit) -> Result<Box<dyn Module>> {
        let setting = nvrtc::setting(self.architecture)?;
        let with: Vec<&str> = setting.iter().map(String::as_str).collect();
        let key = format!("{}.cubin", source::key(&unit.text(), &with));
        let code = cache::get_or(&key, || Ok(nvrtc::compile(unit, self.architecture)?.code))?;
        self.bind()?;
        let mut module = null_mut();
        // SAFETY: the code is a whole image, or intermediate code that ends with a NUL.
        check("cuModuleLoadData", unsafe { sys::cuModuleLoadData(&mut module, code.as_ptr().cast()) })?;
        Ok(Box::new(LoadedModule { module, label: unit.label(), max_shared_bytes: self.max_shared_bytes }))
    }

    fn launch(&self, function: Function, launched: Launched, params: &mut Params) -> Result<()> {
        self.bind()?;
        let (mut attributes, count) = attributes(launched);
        let (function, mut params) = (function.0 as sys::CUfunction, params.addresses());
        let [x, y] = launched.grid();
        if count == 0 {
            let (threads, shared_bytes) = (launched.threads, launched.shared_bytes as u32);
            // SAFETY: the function belongs to a loaded module, and the parameters are those of its signature.
            return check("cuLaunchKernel", unsafe {
                let params = params.as_mut_ptr();
                sys::cuLaunchKernel(function, x, y, 1, threads, 1, 1, shared_bytes, self.stream, params, null_mut())
            });
        }
        let config = sys::CUlaunchConfig {
            gridDimX: x,
            gridDimY: y,
            gridDimZ: 1,
            blockDimX: launched.threads,
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: launched.shared_bytes as u32,
            hStream: self.stream,
            attrs: attributes.as_mut_ptr(),
            numAttrs: count,
        };
        // SAFETY: as above; the attributes outlive the call.
        check("cuLaunchKernelEx", unsafe { sys::cuLaunchKernelEx(&config, function, params.as_mut_ptr(), null_mut()) })
    }

    fn synchronize(&self) -> Result<()> {
        self.bind()?;
        // SAFETY: the stream lives as long as the device.
        check("cuStreamSynchronize", unsafe { sys::cuStreamSynchronize(self.stream) })
    }

    fn mark(&self) -> Result<Mark> {
        self.bind()?;
        let mut event = null_mut();
        let flags = sys::CUevent_flags::CU_EVENT_DEFAULT as u32;
        // SAFETY: the context is current, and the handle outlives the call.
        check("cuEventCreate", unsafe { sys::cuEventCreate(&mut event, flags) })?;
        let mark = Mark(event as u64);
        // SAFETY: the event was just made, and the stream lives as long as the device.
        let recorded = check("cuEventRecord", unsafe { sys::cuEventRecord(event, self.stream) });
        recorded.map(|()| mark).inspect_err(|_| self.forget(mark))
    }

    fn elapsed_ms(&self, start: Mark, end: Mark) -> Result<f64> {
        self.bind()?;
        let (start, end) = (start.0 as sys::CUevent, end.0 as sys::CUevent);
        for event in [start, end] {
            // SAFETY: a mark is an event that has been recorded and not yet been destroyed.
            check("cuEventSynchronize", unsafe { sys::cuEventSynchronize(event) })?;
        }
        let mut milliseconds = 0.0;
        // SAFETY: both events have been reached, and the number outlives the call.
        check("cuEventElapsedTime", unsafe { elapsed_time()?(&mut milliseconds, start, end) })?;
        Ok(milliseconds.into())
    }

    fn forget(&self, mark: Mark) {
        // A failure here was one of an earlier launch, which the next call reports.
        let _ = self.bind().and_then(|()| {
            // SAFETY: the event came from `mark` and is destroyed once.
            check("cuEventDestroy", unsafe { sys::cuEventDestroy_v2(mark.0 as sys::CUevent) })
        });
    }

    fn begin_recording(&self) -> Result<()> {
        self.begin_capture()
    }

    fn launch_recording(&self, graph: &mut Option<Graph>) -> Result<()> {
        self.launch_captured(graph)
    }

    fn discard_recording(&self) {
        self.discard_captured();
    }

    fn forget_graph(&self, graph: Graph) {
        self.destroy(graph);
    }
}

/// What a launch asks for beside its grid, and how much of that there is: of most launches nothing.
fn attributes(launched: Launched) -> ([sys::CUlaunchAttribute; 2], u32) {
    use sys::{CUlaunchAttributeID as Id, CUlaunchAttributeValue as Value};
    let attribute = |id, value| sys::CUlaunchAttribute { id, pad: [0; 4], value };
    let none = attribute(Id::CU_LAUNCH_ATTRIBUTE_IGNORE, Value { pad: [0; 64] });
    let (mut attributes, mut count) = ([none; 2], 0);
    let mut ask = |id, value| {
        attributes[count] = attribute(id, value);
        count += 1;
    };
    if launched.cluster > 1 {
        let size = sys::CUlaunchAttributeValue_union__bindgen_ty_1 { x: launched.cluster, y: 1, z: 1 };
        ask(Id::CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, Value { clusterDim: size });
    }
    if launched.overlaps_previous {
        let value = Value { programmaticStreamSerializationAllowed: 1 };
        ask(Id::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION, value);
    }
    (attributes, count as u32)
}

fn tensor_map_dtype(dtype: DType) -> sys::CUtensorMapDataType {
    use sys::CUtensorMapDataType as T;
    match dtype {
        DType::Bool | DType::U8 => T::CU_TENSOR_MAP_DATA_TYPE_UINT8,
        DType::U32 => T::CU_TENSOR_MAP_DATA_TYPE_UINT32,
        DType::I32 => T::CU_TENSOR_MAP_DATA_TYPE_INT32,
        DType::I64 => T::CU_TENSOR_MAP_DATA_TYPE_INT64,
        DType::F16 => T::CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
        DType::BF16 => T::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
        DType::F32 => T::CU_TENSOR_MAP_DATA_TYPE_FLOAT32,
        DType::F64 => T::CU_TENSOR_MAP_DATA_TYPE_FLOAT64,
    }
}

fn tensor_map_swizzle(swizzle: Swizzle) -> sys::CUtensorMapSwizzle {
    use sys::CUtensorMapSwizzle as S;
    match swizzle {
        Swizzle::None => S::CU_TENSOR_MAP_SWIZZLE_NONE,
        Swizzle::Bytes32 => S::CU_TENSOR_MAP_SWIZZLE_32B,
        Swizzle::Bytes64 => S::CU_TENSOR_MAP_SWIZZLE_64B,
        Swizzle::Bytes128 => S::CU_TENSOR_MAP_SWIZZLE_128B,
    }
}

type ElapsedTime = unsafe extern "C" fn(*mut f32, sys::CUevent, sys::CUevent) -> CUresult;

/// The driver's `cuEventElapsedTime`. It is looked up here because the bindings of CUDA 13 know only the second version,
/// which drivers before 12.8 do not have, while the first is in all.
fn elapsed_time() -> Result<ElapsedTime> {
    // SAFETY: the library is there, because a device was opened with it.
    let library = unsafe { sys::culib() };
    let named = |name: &[u8]| {
        // SAFETY: both versions have this signature.
        unsafe { library.get::<ElapsedTime>(name) }.map(|function| *function)
    };
    named(b"cuEventElapsedTime\0")
        .or_else(|_| named(b"cuEventElapsedTime_v2\0"))
        .map_err(|error| missing(&format!("the driver has no cuEventElapsedTime: {error}")))
}

/// Loaded machine code; it stays loaded as long as the process lives.
struct LoadedModule {
    module: sys::CUmodule,
    label: String,
    max_shared_bytes: usize,
}

// SAFETY: a module is a handle that any thread may use once the context is current.
unsafe impl Send for LoadedModule {}
// SAFETY: as for `Send`.
unsafe impl Sync for LoadedModule {}

impl Module for LoadedModule {
    fn function(&self, entry: &str) -> Result<Function> {
        let name = CString::new(entry).unwrap_or_default();
        let mut function = null_mut();
        // SAFETY: the module is loaded and the name ends with a NUL.
        match unsafe { sys::cuModuleGetFunction(&mut function, self.module, name.as_ptr()) } {
            CUresult::CUDA_ERROR_NOT_FOUND => {
                return Err(missing(&format!("unit {} has no entry point {entry}", self.label)));
            }
            result => check("cuModuleGetFunction", result)?,
        }
        if self.max_shared_bytes > DEFAULT_SHARED_BYTES {
            let which = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            let mut fixed = 0;
            let size = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES;
            // SAFETY: the function is alive and the number outlives the call.
            check("cuFuncGetAttribute", unsafe { sys::cuFuncGetAttribute(&mut fixed, size, function) })?;
            let room = self.max_shared_bytes as i32 - fixed;
            // SAFETY: the function is alive.
            check("cuFuncSetAttribute", unsafe { sys::cuFuncSetAttribute(function, which, room) })?;
        }
        Ok(Function(function as usize))
    }
}

#[track_caller]
fn missing(message: &str) -> Error {
    Error::new(ErrorKind::Device(message.into()))
}

/// The error of a call, with the driver's name for it and its explanation.
#[track_caller]
fn check(call: &str, result: CUresult) -> Result<()> {
    if result == CUresult::CUDA_SUCCESS {
        return Ok(());
    }
    let (mut name, mut text) = (null(), null());
    // SAFETY: the driver sets the pointers to text of its own, or to null.
    let (name, text) = unsafe {
        sys::cuGetErrorName(result, &mut name);
        sys::cuGetErrorString(result, &mut text);
        let own = |text: *const std::ffi::c_char| (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy());
        (own(name), own(text))
    };
    let (name, text) = (name.unwrap_or_default(), text.unwrap_or_default());
    Err(missing(&format!("{call}: {name} ({text})")))
}
