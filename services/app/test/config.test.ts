import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ConfigError, loadConfig } from "../src/config.ts";
import { ServiceProcess, temporaryDirectory } from "./running.ts";

async function directoryOf(files: Record<string, string>): Promise<string> {
  const directory = await temporaryDirectory();
  for (const [key, value] of Object.entries(files)) await writeFile(join(directory, key), value);
  return directory;
}

test("defaults where nothing is set", async () => {
  const expected = {
    PORT: 8080,
    METRICS_PORT: 9090,
    LOG_LEVEL: "info",
    GREETING: "Welcome to the custom app",
    LOG_DIR: "/app/logs",
    DRAIN_SECONDS: 3,
    SYNC: "always",
    MAX_BODY_BYTES: 65_536,
    MAX_MESSAGE_BYTES: 32_768,
    MAX_FILE_BYTES: 67_108_864,
    KEPT_FILES: 4,
    ACCESS_LOG: "all",
    MAX_LINES_BYTES: 1024 * 1024,
  };
  expect(loadConfig(await temporaryDirectory(), {})).toEqual(expected);
  expect(loadConfig("/nonexistent", {})).toEqual(expected);
});

test("a file sets its key, the environment overrides it", async () => {
  const directory = await directoryOf({
    PORT: "8081\n",
    GREETING: " Hello \n",
    LOG_LEVEL: "debug",
    OTHER: "x",
  });
  const config = loadConfig(directory, { LOG_LEVEL: "warn" });
  expect(config).toMatchObject({ PORT: 8081, GREETING: " Hello ", LOG_LEVEL: "warn" });
  expect(config).not.toHaveProperty("OTHER");
});

test.each([
  ["PORT", "80a80"],
  ["PORT", "65536"],
  ["PORT", "-1"],
  ["PORT", ""],
  ["METRICS_PORT", "0x50"],
  ["LOG_LEVEL", "verbose"],
  ["GREETING", ""],
  ["LOG_DIR", ""],
  ["DRAIN_SECONDS", "1.5"],
  ["SYNC", "sometimes"],
  ["MAX_BODY_BYTES", "1023"],
  ["MAX_MESSAGE_BYTES", "0"],
  ["MAX_FILE_BYTES", "64Mi"],
  ["KEPT_FILES", "0"],
])("%s=%j is refused by name, value and source", async (key, value) => {
  const directory = await directoryOf({ [key]: value });
  const setting = `${key}=${JSON.stringify(value)}`;
  expect(() => loadConfig(directory, {})).toThrow(`${setting} (${join(directory, key)})`);
  expect(() => loadConfig(directory, { [key]: value })).toThrow(`${setting} (environment)`);
});

test("both ports cannot be the same", () => {
  expect(() => loadConfig("/nonexistent", { PORT: "9090" })).toThrow(
    'METRICS_PORT="9090" (default): must differ from PORT',
  );
});

test("every wrong key is named at once", () => {
  const load = () => loadConfig("/nonexistent", { PORT: "x", LOG_LEVEL: "y" });
  expect(load).toThrow('PORT="x"');
  expect(load).toThrow('LOG_LEVEL="y"');
});

test("a setting that cannot be read is an error, not a default", async () => {
  const directory = await temporaryDirectory();
  await mkdir(join(directory, "GREETING"));
  expect(() => loadConfig(directory, {})).toThrow(ConfigError);
  expect(() => loadConfig(directory, {})).toThrow("GREETING cannot be read");
});

test("the process exits with 78 and names the setting", async () => {
  const service = await ServiceProcess.start({ PORT: "eighty" });
  expect(await service.exited).toBe(78);
  const { level, msg } = JSON.parse(service.output);
  expect(level).toBe(60);
  expect(msg).toContain('PORT="eighty"');
});
