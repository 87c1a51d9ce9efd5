// @module-tag slow
/** The real reloader, started as in Prometheus' pod, with a program that stands for Prometheus. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { load } from "js-yaml";
import { expect, onTestFinished, test } from "vitest";
import { repository } from "../src/layout.ts";
import { binaries, ensureBuilt } from "../src/modules.ts";

interface Prometheus {
  spec: { reloadStrategy: string; containers: { name: string; command: string[] }[] };
}

const manifest = "gitops/platform/monitoring/stack/embedded/prometheus/prometheus.yaml";

test("a reload in the second of the one before it keeps no later change waiting", {
  timeout: 600_000,
}, async () => {
  await ensureBuilt(["prometheus-operator"]);
  const { spec } = load(readFileSync(join(repository, manifest), "utf8")) as Prometheus;
  expect(spec.reloadStrategy).toBe("ProcessSignal");
  const [program, ...flags] = spec.containers.find(({ name }) => name === "config-reloader")?.command ?? [];
  expect(program).toBe("/bin/prometheus-config-reloader");
  const directory = mkdtempSync(join(tmpdir(), "reloader-test-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  // The reloader finds the process to signal by its name, and a real Prometheus may run on this machine.
  const name = `p${process.pid}`;
  writeFileSync(
    join(directory, name),
    "#!/bin/sh\ntrap 'echo reload' HUP\necho up\nwhile :; do sleep 0.1; done\n",
    {
      mode: 0o755,
    },
  );
  const reloaded = spawn(join(directory, name), { stdio: ["ignore", "pipe", "inherit"] });
  onTestFinished(() => void reloaded.kill("SIGKILL"));
  let reloads = 0;
  reloaded.stdout.on("data", (chunk: Buffer) => {
    reloads += chunk.toString().split("reload").length - 1;
  });
  await once(reloaded.stdout, "data");
  // The first reload is in the same second as the start, and each later one is in another second.
  const lastConfigTime = () => new Date(Math.max(0, reloads - 1) * 1000).toISOString();
  const server = createServer((_req, res) => {
    const data = { reloadConfigSuccess: true, lastConfigTime: lastConfigTime() };
    res.end(JSON.stringify({ status: "success", data }));
  }).listen(0, "127.0.0.1");
  onTestFinished(() => void server.close());
  await once(server, "listening");

  const [config, output] = [join(directory, "in.yaml"), join(directory, "out.yaml")];
  writeFileSync(config, "first\n");
  const { port } = server.address() as AddressInfo;
  const given = [
    "--reload-method=signal",
    `--process-executable-name=${name}`,
    `--runtimeinfo-url=http://127.0.0.1:${port}/api/v1/status/runtimeinfo`,
    `--config-file=${config}`,
    `--config-envsubst-file=${output}`,
  ];
  const binary = join(binaries("prometheus-operator"), "prometheus-config-reloader");
  const reloader = spawn(binary, [...flags, ...given], { stdio: "ignore" });
  onTestFinished(() => void reloader.kill("SIGKILL"));
  await expect.poll(() => reloads, { timeout: 60_000 }).toBe(1);
  writeFileSync(`${config}.new`, "second\n");
  renameSync(`${config}.new`, config);
  // Without the flag it checks again only after three minutes.
  await expect.poll(() => readFileSync(output, "utf8"), { timeout: 90_000 }).toBe("second\n");
  await expect.poll(() => reloads, { timeout: 60_000 }).toBeGreaterThan(1);
});
