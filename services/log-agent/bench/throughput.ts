/**
 * How fast the agent catches up with existing files, compared with `tail -F | cat` and rsyslog's imfile. They run one
 * after the other in every round, on lines of the API. What each prints is counted, and its CPU time is read from
 * /proc. LINES, FILES and ROUNDS set the size; RSYSLOGD and RSYSLOG_MODULES name an rsyslog that is not installed.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../../../lib/test/free-port.ts";
import { configurations, type Encoding, findCollector, memoryLimit } from "../test/agent.ts";

const files = Number(process.env.FILES ?? 6);
const total = Number(process.env.LINES ?? 600_000);
const rounds = Number(process.env.ROUNDS ?? 3);
const perFile = Math.floor(total / files);

interface Result {
  seconds: number;
  cpu: number;
  /** Highest resident memory, bytes. */
  rss: number;
}

const work = mkdtempSync(join(tmpdir(), "throughput-"));
const pods = join(work, "pods");
const paths = Array.from({ length: files }, (_, file) => {
  const directory = join(pods, `uid-${file}`, "volumes/kubernetes.io~empty-dir/logs");
  mkdirSync(directory, { recursive: true });
  const text = Array.from(
    { length: perFile },
    (_, i) =>
      `2026-01-01T00:00:00.${String(i % 1000).padStart(3, "0")}Z ${file}-${i}-0123456789ab ${"message ".repeat(12)}${i}\n`,
  );
  writeFileSync(join(directory, "app.log"), text.join(""));
  return join(directory, "app.log");
});

const ticks = Number(spawnSync("getconf", ["CLK_TCK"]).stdout.toString());

/** The CPU seconds and the highest resident memory, in bytes, of some processes together. */
function usage(pids: number[]): { cpu: number; rss: number } {
  let cpu = 0;
  let rss = 0;
  for (const pid of pids) {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    cpu += (Number(fields[11]) + Number(fields[12])) / ticks;
    rss += Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) * 1024;
  }
  return { cpu, rss };
}

/** Runs a program, which writes to a file, until it has written all the lines. */
async function measure(start: (state: string, out: number) => Promise<ChildProcess[]>): Promise<Result> {
  const state = mkdtempSync(join(work, "state-"));
  const output = join(state, "output");
  const out = openSync(output, "a");
  const reading = openSync(output, "r");
  const started = performance.now();
  const children = await start(state, out);
  try {
    const chunk = Buffer.alloc(1024 * 1024);
    for (let lines = 0; lines < perFile * files; ) {
      const bytes = readSync(reading, chunk);
      for (let i = chunk.indexOf(10); i >= 0 && i < bytes; i = chunk.indexOf(10, i + 1)) lines++;
      if (bytes > 0) continue;
      if (children.some(({ exitCode }) => exitCode !== null))
        throw new Error(`it ended after ${lines} lines`);
      await new Promise((done) => setTimeout(done, 20));
    }
    const seconds = (performance.now() - started) / 1000;
    const { cpu, rss } = usage(children.flatMap(({ pid }) => pid ?? []));
    return { seconds, cpu, rss };
  } finally {
    for (const child of children) child.kill("SIGKILL");
    closeSync(out);
    closeSync(reading);
    rmSync(state, { recursive: true, force: true });
  }
}

const collector = findCollector();
if (!collector) throw new Error("there is no collector: run ./deploy.sh, or name one with COLLECTOR");

async function startAgent(encoding: Encoding, state: string, out: number): Promise<ChildProcess[]> {
  const { files: configured, processors } = configurations[encoding];
  for (const name of ["checkpoint", "store"]) mkdirSync(join(state, name));
  const [metrics, health, own] = [await freePort(), await freePort(), await freePort()];
  const set = [
    `service::pipelines::logs::processors=${processors}`,
    `exporters::prometheus::endpoint=127.0.0.1:${metrics}`,
    `extensions::health_check::endpoint=127.0.0.1:${health}`,
    `service::telemetry::metrics::readers=[{pull: {exporter: {prometheus: {host: 127.0.0.1, port: ${own}}}}}]`,
  ];
  const args = configured.map((file) => `--config=${file}`);
  args.push("--feature-gates=stanza.synchronousLogEmitter");
  const env = {
    GOMEMLIMIT: memoryLimit,
    NODE_NAME: "n",
    POD_IP: "127.0.0.1",
    PODS_DIR: pods,
    STATE_DIR: state,
  };
  const flags = [...args, ...set.map((setting) => `--set=${setting}`)];
  return [spawn(collector as string, flags, { env, stdio: ["ignore", out, "ignore"] })];
}

async function startTail(_state: string, out: number): Promise<ChildProcess[]> {
  const tail = spawn("tail", ["--quiet", "--lines=+1", "-F", ...paths], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  const cat = spawn("cat", [], { stdio: [tail.stdout, out, "ignore"] });
  return [tail, cat];
}

const rsyslogd = process.env.RSYSLOGD ?? "/usr/sbin/rsyslogd";

async function startRsyslog(state: string, out: number): Promise<ChildProcess[]> {
  const file = join(state, "rsyslog.conf");
  const fields = [
    'property(outname="message" name="msg" format="jsonf")',
    'property(outname="file" name="$!metadata!filename" format="jsonf")',
    'property(outname="offset" name="$!metadata!fileoffset" format="jsonf")',
  ];
  const json = `template(name="json" type="list") { constant(value="{") ${fields.join(' constant(value=",") ')} constant(value="}\\n") }`;
  writeFileSync(
    file,
    `global(workDirectory="${state}" maxMessageSize="64k")
module(load="imfile")
input(type="imfile" file="${pods}/*/volumes/kubernetes.io~empty-dir/*/app.log" tag="app" addMetadata="on" ruleset="out")
${json}
ruleset(name="out") { action(type="omfile" file="${state}/store" template="json") action(type="omfile" file="/proc/self/fd/1" template="json") }
`,
  );
  const modules = process.env.RSYSLOG_MODULES ? ["-M", process.env.RSYSLOG_MODULES] : [];
  const args = ["-n", "-f", file, "-i", join(state, "pid"), ...modules];
  return [spawn(rsyslogd, args, { stdio: ["ignore", out, "ignore"] })];
}

const contenders: [string, (state: string, out: number) => Promise<ChildProcess[]>][] = [
  ["agent", (...of) => startAgent("log_line_encoding", ...of)],
  ["agent without log_line_encoding", (...of) => startAgent("json_log_encoding", ...of)],
  ["tail -F \\| cat", startTail],
];
if (existsSync(rsyslogd)) contenders.push(["rsyslog imfile", startRsyslog]);
else console.error(`rsyslog is left out: ${rsyslogd} is not there`);

const median = (values: number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
const results = new Map<string, Result[]>();
try {
  for (let round = 0; round < rounds; round++) {
    for (const [name, start] of contenders)
      results.set(name, [...(results.get(name) ?? []), await measure(start)]);
  }
  const lines = perFile * files;
  console.log(`${lines} lines in ${files} files, median of ${rounds} rounds\n`);
  console.log("| collector | lines/s | CPU s per million lines | RSS MB |\n| --- | --- | --- | --- |");
  for (const [name, runs] of results) {
    const cells = [
      Math.round(lines / median(runs.map(({ seconds }) => seconds))),
      ((median(runs.map(({ cpu }) => cpu)) / lines) * 1e6).toFixed(1),
      Math.round(median(runs.map(({ rss }) => rss)) / 1e6),
    ];
    console.log(`| ${name} | ${cells.join(" | ")} |`);
  }
} finally {
  rmSync(work, { recursive: true, force: true });
}
