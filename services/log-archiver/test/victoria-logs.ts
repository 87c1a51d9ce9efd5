/** The real VictoriaLogs with the arguments that are deployed, on 127.0.0.1. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "../../../lib/test/free-port.ts";
import { goProgram } from "./go-program.ts";

const repository = resolve(import.meta.dirname, "../../..");
const manifest = resolve(repository, "gitops/platform/search/base/store/statefulset.yaml");

/** Its arguments in the cluster, but for where its data are and how much of the disk is to stay free. */
const deployed = (): string[] =>
  [...readFileSync(manifest, "utf8").matchAll(/^ +- (-[a-z][\w.-]*(?:=.*)?)$/gm)]
    .map(([, argument = ""]) => argument)
    .filter((argument) => !/^-(storageDataPath|storage\.minFree|e$|c$|g$)/.test(argument));

/** A search store on a directory. */
export class VictoriaLogs {
  readonly directory: string;
  port = 0;
  #process: ChildProcess | undefined;

  constructor(directory: string) {
    this.directory = directory;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Starts it, at the port of last time if there was one, and waits until it answers. */
  async start(): Promise<void> {
    const program = await goProgram(
      "victoria-logs",
      resolve(repository, "bootstrap/embedded/modules/victoria-logs"),
    );
    this.port ||= await freePort();
    const own = [`-httpListenAddr=127.0.0.1:${this.port}`, `-storageDataPath=${this.directory}`];
    this.#process = spawn(program, [...deployed(), ...own], { stdio: ["ignore", "ignore", "inherit"] });
    for (;;) {
      const ready = await fetch(`${this.url}/health`).then(
        ({ ok }) => ok,
        () => false,
      );
      if (ready) return;
      if (this.#process.exitCode !== null) throw new Error("VictoriaLogs has ended");
      await sleep(50);
    }
  }

  /** Ends it without a warning. */
  async kill(): Promise<void> {
    if (!this.#process || this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    this.#process.kill("SIGKILL");
    await once(this.#process, "exit");
  }
}
