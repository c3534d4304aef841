//! What is asked of a device, recorded into one compute pass until there is enough of it, or until somebody waits.

use std::sync::Mutex;

use ::wgpu;

use super::WgpuDevice;
use super::adapter::missing;
use super::device::lock;
use super::event::TIME_BYTES;
use super::pipeline::Pipeline;
use crate::Result;

/// How many launches a submission holds at most: enough to hide its cost, few enough to keep the device busy.
const LAUNCHES: usize = 128;
/// Where the parameters of a launch may start.
const UNIFORM_ALIGN: usize = 256;
/// What a launch's places take: see `places` in source.rs.
pub(crate) const PLACES_BYTES: usize = 48;
/// The most that a launch's parameters take.
pub(crate) const PARAMS_BYTES: usize = 512;
/// What one launch takes at most in the buffer of parameters.
const LAUNCH_BYTES: usize = UNIFORM_ALIGN + PARAMS_BYTES;

/// One launch that is ready to be recorded.
pub(crate) struct Dispatch<'a> {
    pub(crate) pipeline: &'a Pipeline,
    pub(crate) bindings: &'a wgpu::BindGroup,
    /// Where the data of each binding start in it, and the number of a fault's describer.
    pub(crate) places: [u32; PLACES_BYTES / 4],
    pub(crate) params: &'a [u8],
    pub(crate) groups: [u32; 3],
}

pub(crate) struct Recorder {
    device: wgpu::Device,
    queue: wgpu::Queue,
    /// Parameters of the launches of one submission.
    uniforms: wgpu::Buffer,
    uniform_bindings: wgpu::BindGroup,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    // In this order, so that the pass ends before its encoder is dropped.
    pass: Option<wgpu::ComputePass<'static>>,
    encoder: Option<wgpu::CommandEncoder>,
    uniforms: Vec<u8>,
    launches: usize,
}

/// The layout of the group that every kernel has: places and parameters.
pub(crate) fn uniform_layout(device: &wgpu::Device) -> wgpu::BindGroupLayout {
    let entry = |binding| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty: wgpu::BufferBindingType::Uniform,
            has_dynamic_offset: true,
            min_binding_size: None,
        },
        count: None,
    };
    let entries = &[entry(0), entry(1)];
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some("uniforms"), entries })
}

impl Recorder {
    pub(crate) fn new(device: wgpu::Device, queue: wgpu::Queue) -> Recorder {
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let size = (LAUNCHES * LAUNCH_BYTES) as u64;
        let descriptor = wgpu::BufferDescriptor { label: Some("uniforms"), size, usage, mapped_at_creation: false };
        let uniforms = device.create_buffer(&descriptor);
        let entry = |binding, len_bytes: usize| wgpu::BindGroupEntry {
            binding,
            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: &uniforms,
                offset: 0,
                size: std::num::NonZeroU64::new(len_bytes as u64),
            }),
        };
        let uniform_bindings = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("uniforms"),
            layout: &uniform_layout(&device),
            entries: &[entry(0, PLACES_BYTES), entry(1, PARAMS_BYTES)],
        });
        Recorder { device, queue, uniforms, uniform_bindings, state: Mutex::default() }
    }

    /// Records a launch, and submits what is recorded where that is enough.
    pub(crate) fn dispatch(&self, dispatch: &Dispatch<'_>) {
        let state = &mut *lock(&self.state);
        let at = state.uniforms.len();
        state.uniforms.extend_from_slice(bytemuck::bytes_of(&dispatch.places));
        state.uniforms.resize(at + UNIFORM_ALIGN, 0);
        state.uniforms.extend_from_slice(dispatch.params);
        // The binding covers as much whatever the parameters take.
        state.uniforms.resize(at + LAUNCH_BYTES, 0);
        let pass = state.pass(&self.device);
        pass.set_pipeline(&dispatch.pipeline.pipeline);
        pass.set_bind_group(0, dispatch.bindings, &[]);
        pass.set_bind_group(1, &self.uniform_bindings, &[at as u32, (at + UNIFORM_ALIGN) as u32]);
        let [x, y, z] = dispatch.groups;
        pass.dispatch_workgroups(x, y, z);
        state.launches += 1;
        if state.launches == LAUNCHES {
            self.submit_state(state);
        }
    }

    /// Submits what is recorded.
    pub(crate) fn submit(&self) {
        self.submit_state(&mut lock(&self.state));
    }

    fn submit_state(&self, state: &mut State) {
        drop(state.pass.take());
        let Some(encoder) = state.encoder.take() else { return };
        if !state.uniforms.is_empty() {
            // Written after the launches of earlier submissions and before those of this one.
            self.queue.write_buffer(&self.uniforms, 0, &state.uniforms);
        }
        self.queue.submit([encoder.finish()]);
        state.uniforms.clear();
        state.launches = 0;
    }

    /// Copies bytes from the host to `buffer`, after what is recorded.
    pub(crate) fn upload(&self, buffer: &wgpu::Buffer, start: u64, bytes: &[u8]) {
        let state = &mut *lock(&self.state);
        // A write of the queue comes before what is submitted next, so what is recorded has to be submitted first.
        self.submit_state(state);
        let whole = bytes.len() / 4 * 4;
        self.queue.write_buffer(buffer, start, &bytes[..whole]);
        if whole < bytes.len() {
            let mut last = [0; 4];
            last[..bytes.len() - whole].copy_from_slice(&bytes[whole..]);
            self.queue.write_buffer(buffer, start + whole as u64, &last);
        }
    }

    /// Marks the place after what is recorded: the device writes the time when it has come there.
    pub(crate) fn mark(&self) -> wgpu::QuerySet {
        let (label, ty) = (Some("event"), wgpu::QueryType::Timestamp);
        let mark = self.device.create_query_set(&wgpu::QuerySetDescriptor { label, ty, count: 1 });
        let state = &mut *lock(&self.state);
        drop(state.pass.take());
        // A pass of its own, empty: its end comes after all that earlier passes did.
        let timestamp_writes = Some(wgpu::ComputePassTimestampWrites {
            query_set: &mark,
            beginning_of_pass_write_index: None,
            end_of_pass_write_index: Some(0),
        });
        let descriptor = wgpu::ComputePassDescriptor { label, timestamp_writes };
        drop(state.encoder(&self.device).begin_compute_pass(&descriptor));
        mark
    }

    /// A buffer that has the time of a mark once what is recorded is done.
    pub(crate) fn time_of(&self, mark: &wgpu::QuerySet) -> wgpu::Buffer {
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        let (label, size) = (Some("time"), TIME_BYTES as u64);
        let time = self.device.create_buffer(&wgpu::BufferDescriptor { label, size, usage, mapped_at_creation: false });
        let state = &mut *lock(&self.state);
        drop(state.pass.take());
        state.encoder(&self.device).resolve_query_set(mark, 0..1, &time, 0);
        time
    }

    /// The nanoseconds of one tick of the device's clock.
    pub(crate) fn tick_ns(&self) -> f64 {
        self.queue.get_timestamp_period().into()
    }

    /// Copies bytes of `buffer` to the host, after what is recorded.
    #[track_caller]
    pub(crate) fn download(
        &self,
        device: &WgpuDevice,
        buffer: &wgpu::Buffer,
        start: u64,
        bytes: &mut [u8],
    ) -> Result<()> {
        // Copies go by words.
        let skipped = (start % 4) as usize;
        let size = (skipped + bytes.len()).next_multiple_of(4) as u64;
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let descriptor = wgpu::BufferDescriptor { label: Some("read-back"), size, usage, mapped_at_creation: false };
        let staging = self.device.create_buffer(&descriptor);
        {
            let state = &mut *lock(&self.state);
            drop(state.pass.take());
            state.encoder(&self.device).copy_buffer_to_buffer(buffer, start - skipped as u64, &staging, 0, size);
            self.submit_state(state);
        }
        let (sender, receiver) = std::sync::mpsc::channel();
        staging.map_async(wgpu::MapMode::Read, .., move |mapped| drop(sender.send(mapped)));
        device.wait()?;
        // Another thread that waits may have taken the callback and be about to call it.
        match receiver.recv() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(missing(format!("reading back: {error}"))),
            Err(error) => return Err(missing(format!("reading back: {error}"))),
        }
        let mapped = staging.get_mapped_range(..).map_err(|error| missing(format!("reading back: {error}")))?;
        bytes.copy_from_slice(&mapped[skipped..skipped + bytes.len()]);
        Ok(())
    }
}

impl State {
    fn encoder(&mut self, device: &wgpu::Device) -> &mut wgpu::CommandEncoder {
        self.encoder.get_or_insert_with(|| device.create_command_encoder(&Default::default()))
    }

    fn pass(&mut self, device: &wgpu::Device) -> &mut wgpu::ComputePass<'static> {
        let State { pass, encoder, .. } = self;
        pass.get_or_insert_with(|| {
            let encoder = encoder.get_or_insert_with(|| device.create_command_encoder(&Default::default()));
            encoder.begin_compute_pass(&Default::default()).forget_lifetime()
        })
    }
}
