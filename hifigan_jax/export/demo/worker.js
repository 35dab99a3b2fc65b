// Runs the mel and the vocoder with ONNX Runtime, off the page's thread.

let ort = null;
let settings = null;
let sessions = null;

// All files are checked against their hashes, those of other servers too: neither import() nor the runtime would do that.
async function fetched({ url, integrity }) {
  let response;
  try {
    response = await fetch(url, { integrity });
  } catch {
    throw new Error(`${url} cannot be loaded, or is not the expected file.`);
  }
  if (!response.ok) throw new Error(`${url} cannot be loaded (${response.status}).`);
  return response.arrayBuffer();
}

async function load(given) {
  settings = given;
  const { files } = settings;
  let count = 0;
  const counted = async (file) => {
    const content = await fetched(file);
    count += 1;
    postMessage({ progress: count / Object.keys(files).length });
    return content;
  };
  const names = Object.keys(files);
  const contents = await Promise.all(names.map((name) => counted(files[name])));
  const content = Object.fromEntries(names.map((name, i) => [name, contents[i]]));
  ort = await import(URL.createObjectURL(new Blob([content.script], { type: "text/javascript" })));
  ort.env.wasm.wasmBinary = content.wasm;
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency, 4) : 1;
  const session = (model) => ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
  sessions = { mel: await session(content.mel), vocoder: await session(content.vocoder) };
}

async function run(session, data, shape) {
  const result = await session.run({ [session.inputNames[0]]: new ort.Tensor("float32", data, shape) });
  return result[session.outputNames[0]].data;
}

const melOf = (audio) => run(sessions.mel, audio, [1, audio.length]);

// In chunks of frames, for progress and little memory. Each has as much context as the model's receptive field, so that the
// result does not depend on them.
async function generate(mel) {
  const { bins, hop, context, chunk } = settings;
  const frames = mel.length / bins;
  const size = context === null ? frames : chunk;
  const audio = new Float32Array(frames * hop);
  for (let start = 0; start < frames; start += size) {
    const stop = Math.min(start + size, frames);
    const first = Math.max(start - context, 0);
    const last = Math.min(stop + context, frames);
    const part = new Float32Array(bins * (last - first));
    for (let bin = 0; bin < bins; bin++) {
      part.set(mel.subarray(bin * frames + first, bin * frames + last), bin * (last - first));
    }
    const samples = await run(sessions.vocoder, part, [1, bins, last - first]);
    audio.set(samples.subarray((start - first) * hop, (stop - first) * hop), start * hop);
    postMessage({ progress: stop / frames });
  }
  return audio;
}

async function resynthesize(recording) {
  const started = performance.now();
  const mel = await melOf(recording);
  const audio = await generate(mel);
  const seconds = (performance.now() - started) / 1000;
  return { audio, seconds, mels: [mel, await melOf(audio)], threads: ort.env.wasm.numThreads };
}

onmessage = async ({ data }) => {
  try {
    postMessage(data.settings ? { loaded: await load(data.settings) } : { result: await resynthesize(data.recording) });
  } catch (error) {
    postMessage({ error: error.message });
  }
};
