import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

// Linux counts a process's CPU time in hundredths of a second.
const ticksPerSecond = 100;

/** A server under measurement, in a process of its own. */
export class ServerProcess {
  readonly port: number;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, port: number) {
    this.#child = child;
    this.port = port;
  }

  /** Starts Node with these arguments; the server says at which port it listens by a line of JSON. */
  static async start(args: string[], env: NodeJS.ProcessEnv): Promise<ServerProcess> {
    const child = spawn(process.execPath, args, { env, stdio: ["ignore", "pipe", "inherit"] });
    const port = await new Promise<number>((resolve, reject) => {
      const lines = createInterface(child.stdout).on("line", (line) => {
        const { msg, port } = JSON.parse(line);
        if (msg !== "listening") return;
        // Reading on line by line would cost the client, and only where a server logs its requests.
        lines.close();
        child.stdout.resume();
        resolve(port);
      });
      child.on("close", () => reject(new Error(`${args.join(" ")} ended before it listened`)));
    });
    return new ServerProcess(child, port);
  }

  /** The CPU time used until now, in seconds. */
  get cpuSeconds(): number {
    const fields = readFileSync(`/proc/${this.#child.pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
    return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
  }

  /** The memory in RAM now and at its highest until now, in MB. */
  get memory(): { now: number; peak: number } {
    const status = readFileSync(`/proc/${this.#child.pid}/status`, "utf8");
    const megabytes = (key: string) => Number(new RegExp(`${key}:\\s+(\\d+) kB`).exec(status)?.[1]) / 1024;
    return { now: megabytes("VmRSS"), peak: megabytes("VmHWM") };
  }

  async stop(): Promise<void> {
    this.#child.kill("SIGTERM");
    await once(this.#child, "close");
  }
}
