import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, readlink, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { createInterface } from "node:readline";
import { pino } from "pino";
import { expect, onTestFinished } from "vitest";
import { bundle } from "../../../lib/test/bundle.ts";
import { type Config, loadConfig } from "../src/config.ts";
import { type Entry, parseLine } from "../src/line.ts";
import { startService } from "../src/service.ts";

/** A new empty directory that is removed after the test. */
export async function temporaryDirectory(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "app-test-"));
  onTestFinished(() => rm(path, { recursive: true, force: true }));
  return path;
}

/** The service in this process on free ports; stopped after the test. `output` gathers what it logs. */
export async function startHere(settings: Partial<Config> = {}) {
  const LOG_DIR = settings.LOG_DIR ?? (await temporaryDirectory());
  const defaults = loadConfig(LOG_DIR, {});
  const config = { ...defaults, PORT: 0, METRICS_PORT: 0, DRAIN_SECONDS: 0, ...settings, LOG_DIR };
  const output: Record<string, unknown>[] = [];
  const logger = pino({ level: config.LOG_LEVEL }, { write: (line) => void output.push(JSON.parse(line)) });
  const service = await startService(config, logger);
  onTestFinished(() => service.stop());
  return {
    url: `http://127.0.0.1:${service.port}`,
    metricsUrl: `http://127.0.0.1:${service.metricsPort}`,
    file: join(LOG_DIR, "app.log"),
    output,
  };
}

/** The service as a process of its own, its settings in files; killed after the test if it still runs. */
export class ServiceProcess {
  readonly child: ChildProcess;
  readonly exited: Promise<number | null>;
  readonly file: string;
  /** Replaces the mounted configuration by the first one with these changes. */
  readonly configure: (changed: Record<string, string>) => Promise<void>;
  #output: string[] = [];
  #changed = new EventTarget();

  private constructor(child: ChildProcess, file: string, configure: ServiceProcess["configure"]) {
    this.child = child;
    this.configure = configure;
    this.file = file;
    this.exited = once(child, "close").then(([code]) => code);
    if (!child.stdout) throw new Error("no output to read");
    createInterface(child.stdout).on("line", (line) => {
      this.#output.push(line);
      this.#changed.dispatchEvent(new Event("line"));
    });
    child.on("close", () => this.#changed.dispatchEvent(new Event("line")));
    onTestFinished(() => void child.kill("SIGKILL"));
  }

  static async start(
    settings: Record<string, string>,
    env: Record<string, string> = {},
    flags: string[] = [],
  ) {
    const root = await temporaryDirectory();
    const CONFIG_DIR = join(root, "config");
    const LOG_DIR = settings.LOG_DIR ?? join(root, "logs");
    await mkdir(LOG_DIR, { recursive: true });
    const values = { PORT: "0", METRICS_PORT: "0", LOG_DIR, ...settings };
    await mountConfig(CONFIG_DIR, values);
    const [gate, program] = await Promise.all([bundle("test/sync-gate.ts"), bundle("src/main.ts")]);
    const child = spawn(process.execPath, [...flags, "--import", gate, program], {
      env: { PATH: process.env.PATH, CONFIG_DIR, ...env },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const configure = (changed: Record<string, string>) => mountConfig(CONFIG_DIR, { ...values, ...changed });
    return new ServiceProcess(child, join(LOG_DIR, "app.log"), configure);
  }

  get output(): string {
    return this.#output.join("\n");
  }

  /** The first logged object with this message, once it is there. */
  async logged(message: string): Promise<Record<string, unknown>> {
    for (;;) {
      const found = this.#output.map((line) => JSON.parse(line)).find(({ msg }) => msg === message);
      if (found) return found;
      if (this.child.exitCode !== null) throw new Error(`exited without ${message}: ${this.output}`);
      await once(this.#changed, "line");
    }
  }

  async port(): Promise<number> {
    return (await this.logged("listening")).port as number;
  }

  /** Lets no file of the process grow beyond this size, as a full disk would. */
  limitFileSize(bytes: number | "unlimited"): void {
    execFileSync("prlimit", ["--pid", String(this.child.pid), `--fsize=${bytes}:unlimited`]);
  }
}

/** Lays out a directory as a mounted ConfigMap, or replaces it, in the steps in which Kubernetes does. */
async function mountConfig(directory: string, values: Record<string, string>): Promise<void> {
  await mkdir(directory, { recursive: true });
  const data = join(directory, "..data");
  const before = await readlink(data).catch(() => undefined);
  const version = await mkdtemp(join(directory, "..version_"));
  for (const [key, value] of Object.entries(values)) await writeFile(join(version, key), `${value}\n`);
  await symlink(basename(version), `${data}_tmp`);
  await rename(`${data}_tmp`, data);
  for (const key of Object.keys(values)) {
    await symlink(join("..data", key), join(directory, key)).catch((error) => {
      if (error.code !== "EEXIST") throw error;
    });
  }
  if (before !== undefined) await rm(join(directory, before), { recursive: true });
}

/** Sends a message as JSON. */
export function post(url: string, message: unknown, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${url}/log`, {
    method: "POST",
    body: JSON.stringify({ message }),
    headers: { "Content-Type": "application/json", ...headers },
  });
}

/** The value of one sample of a metrics page; undefined if it is not there. */
export function sample(page: string, name: string): number | undefined {
  const line = page.split("\n").find((candidate) => candidate.startsWith(`${name} `));
  return line === undefined ? undefined : Number(line.slice(name.length + 1));
}

/** Expects RFC 9457 problem+json with this status and returns it. */
export async function expectProblem(response: Response, status: number): Promise<{ detail: string }> {
  expect(response.status).toBe(status);
  expect(response.headers.get("content-type")).toMatch(/^application\/problem\+json/);
  const problem: unknown = await response.json();
  const strings = { title: expect.any(String), detail: expect.any(String) };
  expect(problem).toMatchObject({ type: "about:blank", status, ...strings });
  return problem as { detail: string };
}

/** The entries of a log file, all of whose lines are whole. */
export async function entriesOf(file: string): Promise<Entry[]> {
  const content = await readFile(file, "utf8");
  return content === "" ? [] : content.split(/(?<=\n)/).map(parseLine);
}
