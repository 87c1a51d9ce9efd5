/** What a failed run leaves: logs, events, Applications and pods, saved at the first failure, before anything is taken down. */
import { cpSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import type { Reporter, TestCase, TestModule, TestSuite } from "vitest/node";
import { repository } from "./platform.ts";

/** The directory of this run's evidence, which exists once something has failed. */
export const evidence = (): string => {
  process.env.E2E_EVIDENCE ??= join(tmpdir(), `logging-platform-e2e-${Date.now()}`);
  return process.env.E2E_EVIDENCE;
};

/** True where an earlier test of this run has failed: the platform stays as it is, for whoever looks. */
export const somethingFailed = (): boolean => existsSync(evidence());

const everywhere = ["--all-namespaces", "--output"];
const commands: Record<string, string[]> = {
  "doctor.txt": ["./deploy.sh", "doctor"],
  "status.txt": ["./deploy.sh", "status"],
  "nodes.yaml": ["kubectl", "get", "nodes", "--output", "yaml"],
  "pods.txt": ["kubectl", "get", "pods", ...everywhere, "wide"],
  "pods.yaml": ["kubectl", "get", "pods", ...everywhere, "yaml"],
  "events.txt": ["kubectl", "get", "events", "--all-namespaces", "--sort-by", ".lastTimestamp"],
  "applications.yaml": ["kubectl", "get", "applications.argoproj.io", ...everywhere, "yaml"],
  "jobs.yaml": ["kubectl", "get", "cronjobs,jobs", ...everywhere, "yaml"],
  "archiver-logs.txt": [
    ...["kubectl", "--namespace", "logging", "logs", "--selector", "app.kubernetes.io/name=log-archiver"],
    ...["--all-containers", "--prefix", "--tail", "2000"],
  ],
};

/** Saves what the platform says of itself; what cannot be had is named in its file's place. */
async function save(directory: string): Promise<void> {
  for (const [name, path] of Object.entries({
    "deploy.log": process.env.DEPLOY_LOG ?? "/var/log/logging-platform.log",
    components: join(process.env.STATE_DIR ?? "/var/lib/logging-platform", "log"),
  }))
    if (existsSync(path)) cpSync(path, join(directory, name), { recursive: true });
  for (const [name, [command = "", ...args]] of Object.entries(commands)) {
    const options = { cwd: repository, reject: false, all: true, timeout: 60_000, maxBuffer: 1e9 } as const;
    const { all, shortMessage, failed } = await execa(command, args, options);
    writeFileSync(join(directory, name), `${failed ? `${shortMessage}\n` : ""}${all ?? ""}\n`);
  }
}

/** Saves the evidence once, when the first test or hook fails, and says where it is. */
export class KeepEvidence implements Reporter {
  #saving: Promise<void> | undefined;

  async onTestCaseResult(test: TestCase): Promise<void> {
    if (test.result().state === "failed") await this.#keep(test.fullName);
  }

  async onTestSuiteResult(suite: TestSuite): Promise<void> {
    if (suite.errors().length > 0) await this.#keep(suite.fullName);
  }

  async onTestModuleEnd(module: TestModule): Promise<void> {
    if (module.errors().length > 0) await this.#keep(module.relativeModuleId);
  }

  async onTestRunEnd(): Promise<void> {
    await this.#saving;
    if (this.#saving)
      console.error(
        `\nThe evidence of the first failure is in ${evidence()}; the platform is left as it is.`,
      );
  }

  #keep(failed: string): Promise<void> {
    this.#saving ??= (async () => {
      mkdirSync(evidence(), { recursive: true });
      writeFileSync(join(evidence(), "failed.txt"), `${failed}\n`);
      await save(evidence());
    })();
    return this.#saving;
  }
}
