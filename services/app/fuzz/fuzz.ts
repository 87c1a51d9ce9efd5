// Fuzzes the running service by its own OpenAPI document. Arguments go to `schemathesis run`.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const requirements = "fuzz/requirements.txt";
const venv = "node_modules/.cache/fuzz";
const installed = join(venv, "requirements.txt");
const LOG_DIR = mkdtempSync(join(tmpdir(), "app-fuzz-"));

if (!existsSync(installed) || readFileSync(installed, "utf8") !== readFileSync(requirements, "utf8")) {
  await run("python3", "-m", "venv", "--clear", venv);
  await run(join(venv, "bin/pip"), "install", "--quiet", "--disable-pip-version-check", "-r", requirements);
  copyFileSync(requirements, installed);
}

const service = spawn(process.execPath, ["--import", "tsx", "src/main.ts"], {
  env: { ...process.env, PORT: "0", METRICS_PORT: "0", LOG_DIR, LOG_LEVEL: "info", DRAIN_SECONDS: "0" },
  stdio: ["ignore", "pipe", "inherit"],
});
try {
  const url = `http://127.0.0.1:${await portOf()}`;
  const command = ["--config-file", "fuzz/schemathesis.toml", "run", `${url}/openapi.yaml`];
  const options = ["--checks", "all", "--max-examples", "100", "--seed", "1"];
  await run(join(venv, "bin/schemathesis"), ...command, ...options, ...process.argv.slice(2));
} finally {
  service.kill();
  rmSync(LOG_DIR, { recursive: true });
}

async function portOf(): Promise<number> {
  return new Promise((resolve, reject) => {
    // Read to the end, or the service would wait for a reader of its log.
    createInterface(service.stdout).on("line", (line) => {
      const { msg, port } = JSON.parse(line);
      if (msg === "listening") resolve(port);
    });
    service.on("close", () => reject(new Error("the service ended before it listened")));
  });
}

/** Runs a command with its output shown. Throws where it fails. */
async function run(command: string, ...args: string[]): Promise<void> {
  const [code] = await once(spawn(command, args, { stdio: "inherit" }), "close");
  if (code !== 0) throw new Error(`${command} ended with ${code}`);
}
