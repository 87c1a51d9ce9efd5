/** The real collector with the configuration that is deployed, on directories laid out as a kubelet does. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { freePort } from "../../../lib/test/free-port.ts";

const repository = resolve(import.meta.dirname, "../../..");
const deployed = join(repository, "gitops/apps/log-agent/base/agent");
const component = join(repository, "gitops/apps/log-agent/components/line-encoding");

/** The configurations that are deployed: with our own encoding, and for a collector that has none. */
export const configurations = {
  log_line_encoding: {
    files: [join(deployed, "collector.yaml"), join(component, "line-encoding.yaml")],
    // Without what asks an API server.
    processors: "[memory_limiter, transform/identity, filter/app]",
  },
  json_log_encoding: {
    files: [join(deployed, "collector.yaml")],
    processors: "[memory_limiter, transform/identity, filter/app, transform/line]",
  },
};

export type Encoding = keyof typeof configurations;

/** How much memory the collector's runtime is to keep to, as it is deployed. */
export const memoryLimit =
  /name: GOMEMLIMIT\n\s+value: (\S+)/.exec(readFileSync(join(deployed, "daemonset.yaml"), "utf8"))?.[1] ?? "";

/** The collector that the bootstrap has built, newest first; COLLECTOR names another one. */
export function findCollector(): string | undefined {
  if (process.env.COLLECTOR) return process.env.COLLECTOR;
  const built = join(process.env.CACHE_DIR ?? "/var/cache/logging-platform", "bin");
  if (!existsSync(built)) return undefined;
  return readdirSync(built)
    .filter((name) => /^opentelemetry-collector-[0-9a-f]+$/.test(name))
    .map((name) => join(built, name, "opentelemetry-collector"))
    .filter(existsSync)
    .sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)[0];
}

/** A line as the agent prints it. */
export interface Printed {
  time: string | null;
  node: string;
  namespace: string | null;
  pod: string | null;
  uid: string;
  request_id: string | null;
  message: string;
  file: string;
  offset: number;
}

const parse = (text: string): Printed[] =>
  text
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as Printed);

/** An agent on a node of its own, below one temporary directory. */
export class Agent {
  readonly directory = mkdtempSync(join(tmpdir(), "log-agent-"));
  readonly pods = join(this.directory, "pods");
  readonly state = join(this.directory, "state");
  metricsPort = 0;
  #ownPort = 0;
  #healthPort = 0;
  #host = "127.0.0.1";
  #process: ChildProcess | undefined;
  #run = 0;
  readonly #encoding: Encoding;
  #stdout: number | undefined;

  constructor(encoding: Encoding = "log_line_encoding") {
    this.#encoding = encoding;
    for (const name of ["checkpoint", "store"]) mkdirSync(join(this.state, name), { recursive: true });
    mkdirSync(this.pods, { recursive: true });
  }

  /** The directory of a pod's volume, made if it is not there. */
  volume(uid: string, name = "logs"): string {
    const path = join(this.pods, uid, "volumes/kubernetes.io~empty-dir", name);
    mkdirSync(path, { recursive: true });
    return path;
  }

  /** Starts the collector, without what asks an API server; its output goes to a file per run. */
  async start(...settings: string[]): Promise<void> {
    await this.startWith({}, ...settings);
  }

  /**
   * The same; `stdout` is where the lines are printed to, if not to a file of the run.
   */
  async startWith({ stdout }: { stdout?: number }, ...settings: string[]): Promise<void> {
    this.#stdout = stdout;
    this.metricsPort = await freePort();
    this.#ownPort = await freePort();
    const healthPort = await freePort();
    await this.#collect("127.0.0.1", healthPort, [
      `exporters::prometheus::endpoint=127.0.0.1:${this.metricsPort}`,
      `extensions::health_check::endpoint=127.0.0.1:${healthPort}`,
      `service::telemetry::metrics::readers=[{pull: {exporter: {prometheus: {host: 127.0.0.1, port: ${this.#ownPort}}}}}]`,
      ...settings,
    ]);
  }

  /** Starts the collector at the ports that are deployed, on an address as a pod has it. */
  async startAt(podIP: string): Promise<void> {
    this.metricsPort = 9464;
    this.#ownPort = 8888;
    await this.#collect(podIP, 13133, []);
  }

  async #collect(podIP: string, healthPort: number, settings: string[]): Promise<void> {
    this.#healthPort = healthPort;
    this.#host = podIP.includes(":") ? `[${podIP}]` : podIP;
    const { files, processors } = configurations[this.#encoding];
    const set = [`service::pipelines::logs::processors=${processors}`, ...settings];
    this.#run++;
    const out = openSync(this.#output(this.#run), "a");
    const errors = openSync(join(this.directory, "errors"), "a");
    this.#process = spawn(
      findCollector() ?? "",
      [
        ...files.map((file) => `--config=${file}`),
        "--feature-gates=stanza.synchronousLogEmitter",
        ...set.map((setting) => `--set=${setting}`),
      ],
      {
        env: {
          GOMEMLIMIT: memoryLimit,
          NODE_NAME: "node1",
          POD_IP: podIP,
          PODS_DIR: this.pods,
          STATE_DIR: this.state,
        },
        stdio: ["ignore", this.#stdout ?? out, errors],
      },
    );
    for (let attempt = 0; ; attempt++) {
      const answer = await fetch(`http://${this.#host}:${healthPort}/`).catch(() => undefined);
      if (answer?.ok) return;
      if (attempt > 600 || this.#process.exitCode !== null)
        throw new Error(
          `the collector does not start: ${readFileSync(join(this.directory, "errors"), "utf8")}`,
        );
      await new Promise((done) => setTimeout(done, 50));
    }
  }

  /** Port of the metrics that the collector keeps of itself. */
  get ownPort(): number {
    return this.#ownPort;
  }

  /** What its health check answers; 0 where nothing does. */
  async health(): Promise<number> {
    return fetch(`http://${this.#host}:${this.#healthPort}/`).then(
      ({ status }) => status,
      () => 0,
    );
  }

  /** True while the process runs. */
  get runs(): boolean {
    return this.#process?.exitCode === null && this.#process.signalCode === null;
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  /** Ends the collector and waits for it. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    const child = this.#process;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill(signal);
    await exited;
  }

  #output(run: number): string {
    return join(this.directory, `output-${run}`);
  }

  /** Lines that the agent's own metric counts. */
  counted(): Promise<number> {
    return this.#total("log_agent_lines_total");
  }

  /** Lines whose lag is in its histogram. */
  lags(): Promise<number> {
    return this.#total("log_agent_lag_seconds_count");
  }

  /** The sum of a metric over its series. */
  async #total(name: string): Promise<number> {
    const page = await (await fetch(`http://${this.#host}:${this.metricsPort}/metrics`)).text();
    const samples = [...page.matchAll(new RegExp(`^${name}\\{.*\\} (\\S+)$`, "gm"))];
    return samples.reduce((sum, [, value]) => sum + Number(value), 0);
  }

  /** Lines that this run has printed, as the collector counts them for itself. */
  async sent(): Promise<number> {
    const page = await (await fetch(`http://${this.#host}:${this.#ownPort}/metrics`)).text();
    return Number(
      /^otelcol_exporter_sent_log_records\{.*exporter="file\/stdout".*\} (\S+)$/m.exec(page)?.[1] ?? 0,
    );
  }

  /** The bytes that all runs have printed. */
  output(): Buffer {
    return Buffer.concat(Array.from({ length: this.#run }, (_, run) => readFileSync(this.#output(run + 1))));
  }

  /** What all runs have printed. */
  printed(): Printed[] {
    return Array.from({ length: this.#run }, (_, run) => readFileSync(this.#output(run + 1), "utf8")).flatMap(
      parse,
    );
  }

  /** What is stored, from the oldest file to the newest. */
  stored(): Printed[] {
    const directory = join(this.state, "store");
    const names = readdirSync(directory).sort((a, b) =>
      a === "lines.jsonl" ? 1 : b === "lines.jsonl" ? -1 : a < b ? -1 : 1,
    );
    return names.flatMap((name) => parse(readFileSync(join(directory, name), "utf8")));
  }

  /** Ends the collector and removes the directory. */
  async remove(): Promise<void> {
    await this.stop("SIGKILL");
    rmSync(this.directory, { recursive: true, force: true });
  }
}
