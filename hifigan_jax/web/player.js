"use strict";
// Plays the tracks of one sound. All run at the same time and all but one are silent, so that a switch keeps the position.
const Player = (() => {
  const FADE = 0.003; // s; time constant of a switch, so that it does not click
  let context = null;
  let active = null; // the only player that has decoded audio

  return class {
    // tracks: functions from an AudioContext to an AudioBuffer or its promise. changed() is called after every change of the
    // position, the track or the state; failed(error) if the tracks cannot be played.
    constructor({ tracks, rate, seconds, changed, failed }) {
      Object.assign(this, { tracks, rate, duration: seconds, changed, failed, selected: 0, offset: 0, buffers: null, voices: null });
    }

    get playing() { return this.voices !== null; }

    get position() {
      const elapsed = this.playing ? context.currentTime - this.started : 0;
      return Math.min(Math.max(this.offset + elapsed, 0), this.duration);
    }

    async play() {
      if (this.playing || this.loading) return;
      this.loading = true;
      try {
        context ??= new AudioContext({ sampleRate: this.rate });
        if (active !== this) {
          active?.release();
          active = this;
        }
        await context.resume();
        const buffers = this.buffers ?? await Promise.all(this.tracks.map((load) => load(context)));
        if (active !== this) return; // another player was started while this one was decoded
        this.buffers = buffers;
        this.duration = Math.min(...buffers.map((buffer) => buffer.duration));
        if (this.position >= this.duration) this.offset = 0;
        this.start();
      } catch (error) {
        this.failed(error);
      } finally {
        this.loading = false;
      }
    }

    start() {
      this.started = context.currentTime;
      this.voices = this.buffers.map((buffer, i) => {
        const source = new AudioBufferSourceNode(context, { buffer });
        const gain = new GainNode(context, { gain: i === this.selected ? 1 : 0 });
        source.connect(gain).connect(context.destination);
        source.start(this.started, this.offset);
        return { source, gain };
      });
      this.changed();
      requestAnimationFrame(() => this.watch());
    }

    watch() {
      if (!this.playing) return;
      if (this.position >= this.duration) {
        this.pause();
        this.offset = 0;
      } else {
        requestAnimationFrame(() => this.watch());
      }
      this.changed();
    }

    pause() {
      if (!this.playing) return;
      this.offset = this.position;
      this.voices.forEach(({ source }) => source.stop());
      this.voices = null;
      this.changed();
    }

    release() {
      this.pause();
      this.buffers = null;
      if (active === this) active = null;
    }

    toggle() { return this.playing ? this.pause() : this.play(); }

    select(index) {
      if (index >= this.tracks.length) return;
      this.selected = index;
      this.voices?.forEach(({ gain }, i) => gain.gain.setTargetAtTime(i === index ? 1 : 0, context.currentTime, FADE));
      this.changed();
    }

    seek(seconds) {
      const playing = this.playing;
      this.pause();
      this.offset = Math.min(Math.max(seconds, 0), this.duration);
      if (playing) this.start();
      this.changed();
    }
  };
})();
