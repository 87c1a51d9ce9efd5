import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { pino } from "pino";
import { onTestFinished } from "vitest";
import { type Config, loadConfig } from "../src/config.ts";
import { startService } from "../src/service.ts";

/** The service in this process on free ports; stopped after the test. */
export async function startHere(settings: Partial<Config> = {}) {
  const config = { ...loadConfig({}), port: 0, metricsPort: 0, drainSeconds: 0, ...settings };
  const service = await startService(config, pino({ level: "silent" }));
  onTestFinished(() => service.stop());
  return {
    stop: service.stop,
    url: `http://127.0.0.1:${service.port}`,
    metricsUrl: `http://127.0.0.1:${service.metricsPort}`,
  };
}

/** The service as a process of its own; killed after the test if it still runs. */
export class ServiceProcess {
  readonly child: ChildProcess;
  readonly exited: Promise<number | null>;
  readonly #lines: string[] = [];
  readonly #changed = new EventTarget();

  constructor(env: Record<string, string> = {}) {
    this.child = spawn(process.execPath, ["--import", "tsx", "src/main.ts"], {
      env: { PATH: process.env.PATH, PORT: "0", METRICS_PORT: "0", DRAIN_SECONDS: "0", ...env },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const tell = () => this.#changed.dispatchEvent(new Event("line"));
    this.exited = once(this.child, "close").then(([code]) => code);
    this.child.on("close", tell);
    if (this.child.stdout)
      createInterface(this.child.stdout).on("line", (line) => {
        this.#lines.push(line);
        tell();
      });
    onTestFinished(() => void this.child.kill("SIGKILL"));
  }

  get output(): string {
    return this.#lines.join("\n");
  }

  /** The first logged object with this message, once it is there. */
  async logged(message: string): Promise<Record<string, unknown>> {
    for (;;) {
      const found = this.#lines.map((line) => JSON.parse(line)).find(({ msg }) => msg === message);
      if (found) return found;
      if (this.child.exitCode !== null) throw new Error(`exited without ${message}: ${this.output}`);
      await once(this.#changed, "line");
    }
  }
}
