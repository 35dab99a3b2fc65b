"use strict";
(() => {
  const find = (selector, root = document) => root.querySelector(selector);
  const findAll = (selector, root = document) => [...root.querySelectorAll(selector)];
  const SKIP = 1; // s

  document.documentElement.classList.add("script");
  const notify = (text) => { find("#status").textContent = text; };

  // Sorting

  function sortTable(table, column) {
    const headings = findAll("thead th", table);
    const heading = headings[column];
    const bestFirst = heading.dataset.direction === "higher" ? "descending" : "ascending";
    const worstFirst = bestFirst === "ascending" ? "descending" : "ascending";
    const order = heading.ariaSort === bestFirst ? worstFirst : bestFirst;
    headings.forEach((other) => { other.ariaSort = other === heading ? order : "none"; });
    const sign = order === "ascending" ? 1 : -1;
    const value = (row) => (column ? Number(row.cells[column].dataset.number ?? NaN) : row.cells[0].textContent);
    const compare = (a, b) => {
      if (column === 0) return sign * a.localeCompare(b);
      return Number.isNaN(a) - Number.isNaN(b) || sign * (a - b) || 0; // rows without a value are last
    };
    const rows = findAll("tbody tr", table).sort((a, b) => compare(value(a), value(b)));
    find("tbody", table).append(...rows);
  }

  findAll("#summary .sort").forEach((button, column) => {
    button.addEventListener("click", () => sortTable(find("#summary"), column));
  });

  // Playback

  function playerOf(elements, seconds, changed) {
    const decode = (element) => async (context) => {
      const base64 = element.src.slice(element.src.indexOf(",") + 1);
      return context.decodeAudioData(Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)).buffer);
    };
    const failed = (error) => notify(`This browser cannot play the audio: ${error.message}`);
    return new Player({ tracks: elements.map(decode), rate: Number(document.body.dataset.rate), seconds, changed, failed });
  }

  function showPosition(player, play, slider) {
    play.textContent = player.playing ? "Pause" : "Play";
    slider.value = player.position;
    slider.ariaValueText = `${player.position.toFixed(1)} s`;
  }

  // Clips

  const clips = findAll(".clip").map((article, index) => {
    const play = find(".play", article);
    const slider = find(".position", article);
    const radios = findAll("input[type=radio]", article);
    const player = playerOf(findAll("audio", article), Number(article.dataset.seconds), () => {
      showPosition(player, play, slider);
      find(".time", article).textContent = `${player.position.toFixed(2)} s`;
      article.style.setProperty("--position", player.position / player.duration);
      article.classList.toggle("started", player.playing || player.position > 0);
      radios[player.selected].checked = true;
    });
    play.addEventListener("click", () => player.toggle());
    slider.addEventListener("input", () => player.seek(Number(slider.value)));
    radios.forEach((radio, i) => radio.addEventListener("change", () => player.select(i)));
    findAll(".picture:not(.empty)", article).forEach((picture) => picture.addEventListener("click", (event) => {
      const box = picture.getBoundingClientRect();
      player.seek((event.clientX - box.left) / box.width * player.duration);
    }));
    ["focusin", "pointerdown"].forEach((name) => article.addEventListener(name, () => makeCurrent(index)));
    radios[0].checked = true; // browsers restore the state of forms
    slider.value = 0;
    const track = (source) => find(`li[data-source="${source}"] audio`, article);
    return { article, player, track, key: find(".key", article).textContent, seconds: player.duration };
  });

  let current = 0;

  function makeCurrent(index) {
    if (index < 0 || index >= clips.length) return;
    clips[current].article.classList.remove("current");
    current = index;
    clips[current].article.classList.add("current");
  }

  function goTo(index) {
    if (index < 0 || index >= clips.length) return;
    const playing = clips[current].player.playing;
    clips[current].player.pause();
    makeCurrent(index);
    find("h3", clips[current].article).focus({ preventScroll: true });
    clips[current].article.scrollIntoView({ block: "nearest" });
    if (playing) clips[current].player.play();
  }

  makeCurrent(0);

  // Blind ABX test

  const STORE = `hifigan-jax abx ${document.body.dataset.report}`;
  const COLUMNS = ["time", "clip", "a", "b", "x", "answer", "correct"];
  const selects = [find("#abx-a"), find("#abx-b")];
  const listen = findAll(".abx-listen");
  const answers = loadAnswers();
  let trial = null;
  let queue = []; // clips of the next trials

  function loadAnswers() {
    try {
      const stored = JSON.parse(localStorage.getItem(STORE));
      return Array.isArray(stored) ? stored : [];
    } catch {
      return [];
    }
  }

  function saveAnswers() {
    try {
      localStorage.setItem(STORE, JSON.stringify(answers));
    } catch {
      notify("This browser does not keep the answers: export them before you close the page.");
    }
    find("#abx-count").textContent = `Answers: ${answers.length}`;
  }

  function shuffled(items) {
    const order = items.map((item) => [Math.random(), item]);
    return order.sort((a, b) => a[0] - b[0]).map(([, item]) => item);
  }

  function showTrial() {
    showPosition(trial.player, find("#abx-play"), find("#abx-position"));
    listen.forEach((button, i) => { button.ariaPressed = String(i === trial.player.selected); });
  }

  function startTest() {
    endTrial();
    queue = [];
    find("#abx-results").replaceChildren();
    nextTrial();
  }

  function nextTrial() {
    const [a, b] = selects.map((select) => select.value);
    const usable = clips.filter((clip) => clip.track(a) && clip.track(b));
    if (a === b || !usable.length) {
      notify(a === b ? "Choose two different systems for A and B." : "No clip has audio of both systems.");
      return;
    }
    notify("");
    if (!queue.length) queue = shuffled(usable);
    const clip = queue.pop();
    const x = Math.random() < 0.5 ? "a" : "b";
    const elements = [clip.track(a), clip.track(b), clip.track(x === "a" ? a : b)];
    const names = selects.map((select) => select.selectedOptions[0].textContent);
    trial = { clip, x, names, player: playerOf(elements, clip.seconds, showTrial) };
    find("#abx-position").max = clip.seconds;
    find("#abx-clip").textContent = `Clip ${clip.key}`;
    find("#abx-trial").hidden = false;
    lockSelects(true);
    showTrial();
    find("#abx-play").focus(); // not the answer of the trial before, which the space bar would repeat
  }

  function answer(letter) {
    const { clip, x, names: [a, b] } = trial;
    answers.push({ time: new Date().toISOString(), clip: clip.key, a, b, x, answer: letter, correct: Number(letter === x) });
    saveAnswers();
    endTrial();
    nextTrial();
  }

  function endTrial() {
    trial?.player.release();
    trial = null;
    find("#abx-trial").hidden = true;
    lockSelects(false);
  }

  function lockSelects(locked) { selects.forEach((select) => { select.disabled = locked; }); }

  // The probability of at least this many correct answers by guessing.
  function chance(correct, total) {
    let logarithm = -total * Math.LN2; // of the probability of exactly k correct answers
    let sum = 0;
    for (let k = 0; k <= total; k++) {
      if (k >= correct) sum += Math.exp(logarithm);
      logarithm += Math.log((total - k) / (k + 1));
    }
    return Math.min(sum, 1);
  }

  function showResults() {
    const pairs = new Map();
    answers.forEach(({ a, b, correct }) => {
      const pair = [a, b].sort().join(" and ");
      const [right, total] = pairs.get(pair) ?? [0, 0];
      pairs.set(pair, [right + correct, total + 1]);
    });
    const lines = [...pairs].map(([pair, [right, total]]) => {
      const line = document.createElement("li");
      line.textContent = `${pair}: ${right} of ${total} correct; guessing gives as many with probability `
        + chance(right, total).toFixed(3);
      return line;
    });
    find("#abx-results").replaceChildren(...lines);
  }

  function toCsv(rows) {
    const quoted = (value) => `"${String(value).replaceAll('"', '""')}"`;
    return [COLUMNS, ...rows.map((row) => COLUMNS.map((name) => row[name]))].map((row) => row.map(quoted).join(",") + "\r\n").join("");
  }

  function exportCsv() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([toCsv(answers)], { type: "text/csv" }));
    link.download = "abx.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  function deleteAnswers() {
    if (answers.length && !confirm(`Delete ${answers.length} answers?`)) return;
    answers.length = 0;
    saveAnswers();
    showResults();
  }

  const onClick = (selector, action) => find(selector).addEventListener("click", action);
  onClick("#abx-start", startTest);
  onClick("#abx-stop", () => { endTrial(); showResults(); });
  onClick("#abx-is-a", () => answer("a"));
  onClick("#abx-is-b", () => answer("b"));
  onClick("#abx-play", () => trial.player.toggle());
  onClick("#abx-show", showResults);
  onClick("#abx-export", exportCsv);
  onClick("#abx-delete", deleteAnswers);
  listen.forEach((button, i) => button.addEventListener("click", () => trial.player.select(i)));
  find("#abx-position").addEventListener("input", (event) => trial.player.seek(Number(event.target.value)));
  selects[1].selectedIndex = Math.min(1, selects[1].length - 1);
  saveAnswers();

  // Keyboard

  function keyAction(event) {
    const key = event.key.toLowerCase();
    const player = trial ? trial.player : clips[current].player;
    if (trial && event.shiftKey && (key === "a" || key === "b")) return () => answer(key);
    if (event.shiftKey) return null;
    if (trial && "abx".includes(key)) return () => player.select("abx".indexOf(key));
    if (/^[1-9]$/.test(key)) return trial ? null : () => player.select(Number(key) - 1);
    const onControl = event.target.closest("button, a, input:not([type=radio])");
    return {
      " ": onControl ? null : () => player.toggle(),
      arrowleft: event.target.closest("input, .scroll") ? null : () => player.seek(player.position - SKIP),
      arrowright: event.target.closest("input, .scroll") ? null : () => player.seek(player.position + SKIP),
      home: event.target.closest("input") ? null : () => player.seek(0),
      j: () => goTo(current + 1),
      k: () => goTo(current - 1),
    }[key];
  }

  document.addEventListener("keydown", (event) => {
    if (!find("#shortcuts").checked || event.ctrlKey || event.altKey || event.metaKey || event.target.closest("select")) return;
    const action = keyAction(event);
    if (!action) return;
    event.preventDefault();
    action();
  });
})();
