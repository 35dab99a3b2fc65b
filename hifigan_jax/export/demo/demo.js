"use strict";
(() => {
  const find = (selector) => document.querySelector(selector);
  const findAll = (selector) => [...document.querySelectorAll(selector)];
  const settings = JSON.parse(find("#settings").textContent);
  const LARGEST = 100e6; // bytes of a file
  const SILENT = 1e-3; // largest sample of a silent recording
  const RANGE = 80; // dB, of the pictures of mels

  // A problem that the visitor can do something about; its message is shown.
  class Problem extends Error {}

  function notify(text, problem = false) {
    find("#status").textContent = text;
    find("#status").classList.toggle("problem", problem);
  }

  function showProgress(value) {
    find("#progress").hidden = value === null;
    if (value !== null) find("#progress").value = value;
  }

  // The worker answers one request at a time; requests are sent one after another.

  let worker = null;

  function request(message) {
    return new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => {
        if ("progress" in data) showProgress(data.progress);
        else if ("error" in data) reject(new Error(data.error));
        else resolve(data.result);
      };
      worker.onerror = (event) => reject(new Error(event.message || "This browser cannot run the model."));
      worker.postMessage(message);
    });
  }

  async function prepare() {
    if (worker) return;
    notify(`Loading the model (${settings.megabytes} MB, once)`);
    showProgress(0);
    worker = new Worker(settings.worker);
    const files = Object.entries(settings.files).map(([name, file]) => [name, { ...file, url: new URL(file.url, location).href }]);
    await request({ settings: { ...settings, files: Object.fromEntries(files) } });
  }

  function explain(error) {
    if (error instanceof Problem) {
      notify(error.message, true);
      return;
    }
    notify(`The model could not be run: ${error.message}`, true);
    worker?.terminate(); // the next recording starts another one
    worker = null;
  }

  // Sounds

  // Samples at the model's rate, mixed to mono.
  async function decode(blob) {
    if (blob.size > LARGEST) throw new Problem(`This file is too large. ${limits()}`);
    let buffer;
    try {
      buffer = await new OfflineAudioContext(1, 1, settings.rate).decodeAudioData(await blob.arrayBuffer());
    } catch {
      throw new Problem("This browser cannot read this file as audio. Choose a WAV, MP3, OGG, FLAC or M4A file.");
    }
    const samples = new Float32Array(buffer.length);
    for (let channel = 0; channel < buffer.numberOfChannels; channel++) {
      buffer.getChannelData(channel).forEach((x, i) => { samples[i] += x / buffer.numberOfChannels; });
    }
    return samples;
  }

  const limits = () => `Choose a recording of at most ${settings.seconds} seconds.`;

  function check(samples) {
    const seconds = samples.length / settings.rate;
    if (seconds > settings.seconds) throw new Problem(`This recording has ${Math.ceil(seconds)} seconds. ${limits()}`);
    if (samples.length <= settings.shortest) throw new Problem("This recording is too short.");
    if (samples.every((x) => Math.abs(x) < SILENT)) throw new Problem("This recording is silent. Check the microphone or choose another file.");
  }

  let busy = false;

  function setBusy(value) {
    busy = value;
    document.body.classList.toggle("busy", value); // a disabled button would lose the focus
  }

  // Takes a file, a recording or the promise of one.
  async function use(blob) {
    if (busy || recorder) return;
    setBusy(true);
    player?.release();
    find("#result").hidden = true;
    try {
      notify("Reading the recording");
      const recording = await decode(await blob);
      check(recording);
      await prepare();
      notify("Generating the waveform");
      showProgress(0);
      show(recording, await request({ recording }));
    } catch (error) {
      explain(error);
    } finally {
      showProgress(null);
      setBusy(false);
    }
  }

  // Recording

  let recorder = null;

  async function record() {
    if (recorder) {
      recorder.stop();
      return;
    }
    if (busy) return;
    let stream;
    try {
      const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
      stream = await navigator.mediaDevices.getUserMedia({ audio: plain });
    } catch {
      notify("The microphone cannot be used. Connect one, and permit this page to use it.", true);
      return;
    }
    player?.pause();
    const parts = [];
    recorder = new MediaRecorder(stream);
    const began = performance.now();
    const elapsed = () => (performance.now() - began) / 1000;
    const timer = setInterval(() => {
      find("#hint").textContent = `${elapsed().toFixed(0)} of at most ${settings.seconds} seconds`;
      if (elapsed() > settings.seconds - 0.5) recorder?.stop();
    }, 250);
    recorder.ondataavailable = (event) => parts.push(event.data);
    recorder.onstop = () => {
      clearInterval(timer);
      stream.getTracks().forEach((track) => track.stop());
      find("#record").textContent = "Record";
      find("#hint").textContent = hint;
      const blob = new Blob(parts, { type: recorder.mimeType });
      recorder = null;
      use(blob);
    };
    recorder.start();
    find("#record").textContent = "Stop recording";
    notify("Recording");
  }

  // Results

  let player = null;
  let shown = null;

  function bufferOf(samples) {
    return (context) => {
      const buffer = new AudioBuffer({ length: samples.length, sampleRate: settings.rate });
      buffer.copyToChannel(samples, 0);
      return buffer;
    };
  }

  function show(recording, { audio, mels, seconds, threads }) {
    const tracks = [recording.subarray(0, audio.length), audio];
    const duration = audio.length / settings.rate;
    const options = { tracks: tracks.map(bufferOf), rate: settings.rate, seconds: duration };
    const failed = (error) => notify(`This browser cannot play the audio: ${error.message}`, true);
    player = new Player({ ...options, changed: showPosition, failed });
    shown = { tracks, mels };
    find("#position").max = duration;
    find("#result").hidden = false;
    player.select(0);
    draw();
    const speed = (duration / seconds).toFixed(1);
    const workers = threads === 1 ? "one thread" : `${threads} threads`;
    notify(`${duration.toFixed(1)} s of audio generated in ${seconds.toFixed(1)} s: ${speed} x real time, with ${workers}.`);
    find("#result-heading").focus();
    document.dispatchEvent(new CustomEvent("resynthesis", { detail: { recording, audio, seconds } }));
  }

  function showPosition() {
    const { position, duration } = player;
    find("#play").textContent = player.playing ? "Pause" : "Play";
    find("#position").value = position;
    find("#position").ariaValueText = `${position.toFixed(1)} s`;
    find("#time").textContent = `${position.toFixed(1)} s`;
    find("#result").style.setProperty("--position", position / duration);
    findAll("input[name=track]")[player.selected].checked = true;
  }

  // Pictures

  const COLORS = [[0, 0, 4], [60, 15, 112], [140, 41, 129], [222, 73, 104], [254, 159, 109], [252, 253, 191]];

  function color(x) {
    const place = Math.min(Math.max(x, 0), 1) * (COLORS.length - 1);
    const i = Math.min(Math.floor(place), COLORS.length - 2);
    return COLORS[i].map((low, channel) => low + (COLORS[i + 1][channel] - low) * (place - i));
  }

  function sized(canvas) {
    canvas.width = Math.round(canvas.clientWidth * devicePixelRatio);
    canvas.height = Math.round(canvas.clientHeight * devicePixelRatio);
    return canvas.getContext("2d");
  }

  function drawWaveform(canvas, samples, peak) {
    const context = sized(canvas);
    const { width, height } = canvas;
    const y = (x) => (1 - x / peak) * (height - 1) / 2;
    context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--accent");
    for (let column = 0; column < width; column++) {
      const part = samples.subarray(Math.floor(column * samples.length / width), Math.ceil((column + 1) * samples.length / width));
      const [low, high] = part.reduce(([least, most], x) => [Math.min(least, x), Math.max(most, x)], [Infinity, -Infinity]);
      context.fillRect(column, y(high), 1, Math.max(y(low) - y(high), 1));
    }
  }

  function drawMel(canvas, mel, top) {
    const { bins } = settings;
    const frames = mel.length / bins;
    const picture = document.createElement("canvas");
    [picture.width, picture.height] = [frames, bins];
    const image = new ImageData(frames, bins);
    mel.forEach((value, i) => {
      const row = bins - 1 - Math.floor(i / frames); // low frequencies at the bottom
      const decibels = (value - top) * settings.decibels;
      image.data.set([...color(1 + decibels / RANGE), 255], 4 * (row * frames + i % frames));
    });
    picture.getContext("2d").putImageData(image, 0, 0);
    const context = sized(canvas);
    context.imageSmoothingQuality = "high";
    context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  }

  function draw() {
    if (!shown || find("#result").hidden) return;
    const peak = Math.max(...shown.tracks.map((samples) => samples.reduce((most, x) => Math.max(most, Math.abs(x)), 0)));
    const top = shown.mels[0].reduce((most, x) => Math.max(most, x), -Infinity);
    findAll(".waveform").forEach((canvas, i) => drawWaveform(canvas, shown.tracks[i], peak));
    findAll(".mel").forEach((canvas, i) => drawMel(canvas, shown.mels[i], top));
  }

  // Events

  const hint = find("#hint").textContent;

  find("#file").addEventListener("change", ({ target }) => {
    if (target.files.length) use(target.files[0]);
    target.value = ""; // so that the same file can be chosen again
  });
  find("#record").addEventListener("click", record);
  find("#sample")?.addEventListener("click", () => use(fetch(settings.sample).then((response) => response.blob())));
  find("#play").addEventListener("click", () => player.toggle());
  find("#position").addEventListener("input", ({ target }) => player.seek(Number(target.value)));
  findAll("input[name=track]").forEach((radio, i) => radio.addEventListener("change", () => player.select(i)));
  findAll("canvas").forEach((canvas) => canvas.addEventListener("click", ({ offsetX }) => {
    player.seek(offsetX / canvas.clientWidth * player.duration);
  }));
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  document.addEventListener("dragleave", ({ relatedTarget }) => {
    if (!relatedTarget) document.body.classList.remove("dropping");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    if (event.dataTransfer.files.length) use(event.dataTransfer.files[0]);
  });
  window.addEventListener("resize", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

  if (location.protocol === "file:") {
    notify("This page must be opened through a web server, for example `python -m http.server` in its folder.", true);
  } else if (!(navigator.mediaDevices && window.MediaRecorder)) {
    find("#record").disabled = true;
    find("#hint").textContent += "; recording needs https";
  }
})();
