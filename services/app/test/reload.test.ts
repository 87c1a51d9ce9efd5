import { stat } from "node:fs/promises";
import { expect, test } from "vitest";
import { slow } from "../../../lib/test/long.ts";
import { expectProblem, post, ServiceProcess, sample } from "./running.ts";

async function startProcess(settings: Record<string, string> = {}, env: Record<string, string> = {}) {
  const service = await ServiceProcess.start({ DRAIN_SECONDS: "0", ...settings }, env);
  const url = `http://127.0.0.1:${await service.port()}`;
  const greeting = async () => (await fetch(url)).text();
  const metric = async (name: string) => sample(await (await fetch(`${url}/metrics`)).text(), name);
  return { service, url, greeting, metric };
}

test("a swapped ConfigMap takes effect in the running process, is logged and counted", async () => {
  const { service, greeting, metric } = await startProcess({ GREETING: "old" });
  expect(await greeting()).toBe("old");
  await service.configure({ GREETING: "new" });
  await expect.poll(greeting).toBe("new");
  expect(await service.logged("applied a new configuration")).toMatchObject({ keys: ["GREETING"] });
  await service.configure({ GREETING: "newer" });
  await expect.poll(greeting).toBe("newer");
  expect(await metric('config_reloads_total{result="success"}')).toBe(2);
  expect(await metric("config_last_reload_successful")).toBe(1);
  expect(service.child.exitCode).toBe(null);
});

test("the log level changes with it", slow, async () => {
  const { service, url } = await startProcess({ LOG_LEVEL: "info" });
  // A probe is logged at debug only.
  await (await fetch(`${url}/readyz`)).text();
  await service.configure({ LOG_LEVEL: "debug" });
  await service.logged("applied a new configuration");
  await (await fetch(`${url}/livez`)).text();
  expect(await service.logged("request")).toMatchObject({ route: "/livez" });
});

test("limits and sync change with it", slow, async () => {
  const { service, url, metric } = await startProcess();
  const message = "x".repeat(1000);
  expect((await post(url, message)).status).toBe(200);
  const limits = { MAX_MESSAGE_BYTES: "10", MAX_BODY_BYTES: "2000", MAX_FILE_BYTES: "1024", KEPT_FILES: "1" };
  await service.configure({ ...limits, SYNC: "never" });
  await service.logged("applied a new configuration");
  await expectProblem(await post(url, message), 400);
  await expectProblem(await post(url, message.repeat(2)), 413);
  expect(await metric("log_fsync_duration_seconds_count")).toBe(1);
  expect((await post(url, "short")).status).toBe(200);
  expect((await stat(`${service.file}.1`)).size).toBeGreaterThan(1000);
  // The one sync was that of the file rotated away.
  expect(await metric("log_fsync_duration_seconds_count")).toBe(2);
});

test("an invalid version is refused by name, the old one stays, and the next valid one is taken", async () => {
  const { service, greeting, metric } = await startProcess({ GREETING: "old" });
  await service.configure({ GREETING: "bad", LOG_LEVEL: "verbose" });
  const refused = await service.logged("the new configuration is refused, the old one stays");
  expect(refused).toMatchObject({ level: 50, reason: expect.stringContaining('LOG_LEVEL="verbose"') });
  expect(await greeting()).toBe("old");
  expect(await metric('config_reloads_total{result="failure"}')).toBe(1);
  expect(await metric('config_reloads_total{result="success"}')).toBe(0);
  expect(await metric("config_last_reload_successful")).toBe(0);
  await service.configure({ GREETING: "good" });
  await expect.poll(greeting).toBe("good");
  expect(await metric("config_last_reload_successful")).toBe(1);
});

test("going back to the version in use ends the refusal", slow, async () => {
  const { service, metric } = await startProcess();
  await service.configure({ SYNC: "perhaps" });
  await expect.poll(() => metric("config_last_reload_successful")).toBe(0);
  await service.configure({});
  await expect.poll(() => metric("config_last_reload_successful")).toBe(1);
});

test("a changed port waits for a restart, what changes with it does not", slow, async () => {
  const { service, greeting } = await startProcess();
  await service.configure({ PORT: "1", GREETING: "new" });
  await expect.poll(greeting).toBe("new");
  expect(await service.logged("these settings need a restart to change")).toMatchObject({ keys: ["PORT"] });
});

test("the environment still overrides a changed file", slow, async () => {
  const { service, greeting } = await startProcess({}, { GREETING: "from the environment" });
  await service.configure({ GREETING: "from the file", LOG_LEVEL: "debug" });
  await service.logged("applied a new configuration");
  expect(await greeting()).toBe("from the environment");
});
