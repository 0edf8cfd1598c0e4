// Asks the service how it is, every other second, and shows the answer.

const INTERVAL = 2000;
const TIMEOUT = 3000;
const CHECKS = 40;
const STATES = {
  ready: "Ready",
  "not-ready": "Not ready",
  down: "Unreachable",
};

const element = (id) => document.getElementById(id);
const checks = [];
let started; // when the service started, by this browser's clock

async function ask(path) {
  return fetch(path, { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT) });
}

async function check() {
  const began = performance.now();
  try {
    const [ready, info] = await Promise.all([ask("/api/readyz"), ask("/api/info")]);
    if (!info.ok) return { state: "down" };
    return {
      state: ready.ok ? "ready" : "not-ready",
      info: await info.json(),
      latency: performance.now() - began,
    };
  } catch {
    return { state: "down" };
  }
}

function show({ state, info, latency }) {
  document.querySelector("main").dataset.state = state;
  element("state-text").textContent = STATES[state];
  element("checked").textContent = `checked at ${new Date().toLocaleTimeString()}`;
  element("latency").textContent = latency === undefined ? "–" : `${latency.toFixed(0)} ms`;
  if (info) {
    const revision = info.revision ? ` (${info.revision.slice(0, 7)})` : "";
    document.title = `${info.name}: ${STATES[state]}`;
    element("name").textContent = info.name;
    element("version").textContent = info.version + revision;
    element("platform").textContent = info.platform;
    started = Date.now() - info.uptime_seconds * 1000;
  } else {
    document.title = STATES[state];
    started = undefined;
  }
  showUptime();

  checks.push({ state, latency });
  checks.splice(0, checks.length - CHECKS);
  const slowest = Math.max(20, ...checks.map((check) => check.latency ?? 0));
  const bars = checks.map((check) => {
    const bar = document.createElement("li");
    bar.className = check.state;
    bar.style.height = `${100 * ((check.latency ?? slowest) / slowest)}%`;
    bar.title = check.latency === undefined ? STATES.down : `${check.latency.toFixed(0)} ms`;
    return bar;
  });
  bars[0].style.gridColumnStart = CHECKS - checks.length + 1;
  element("checks").replaceChildren(...bars);
}

function showUptime() {
  element("uptime").textContent = started === undefined ? "–" : duration(Date.now() - started);
}

function duration(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  const parts = [
    [Math.floor(seconds / 86400), "d"],
    [Math.floor(seconds / 3600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "min"],
    [seconds % 60, "s"],
  ];
  const first = parts.findIndex(([count]) => count > 0);
  const shown = first < 0 ? parts.slice(-1) : parts.slice(first, first + 2);
  return shown.map(([count, unit]) => `${count} ${unit}`).join(" ");
}

async function showFrontend() {
  const info = await (await ask("/info")).json();
  element("frontend").textContent = `${info.name} ${info.version} on ${info.platform}`;
}

async function repeat() {
  show(await check());
  setTimeout(repeat, INTERVAL);
}

setInterval(showUptime, 1000);
showFrontend().catch(() => {});
repeat();
