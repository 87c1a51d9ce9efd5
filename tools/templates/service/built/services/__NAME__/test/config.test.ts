import { expect, test } from "vitest";
import { ConfigError, loadConfig } from "../src/config.ts";

test("settings have defaults, and the environment is above them", () => {
  expect(loadConfig({})).toMatchObject({ port: 8080, metricsPort: 9090, logLevel: "info" });
  expect(loadConfig({ PORT: "1", GREETING: "x" })).toMatchObject({ port: 1, greeting: "x" });
});

test.each([
  { PORT: "http" },
  { PORT: "65536" },
  { METRICS_PORT: "-1" },
  { METRICS_PORT: "" },
  { DRAIN_SECONDS: "1e1" },
  { LOG_LEVEL: "loud" },
])("%o is refused", (env) => {
  const [[key, value] = []] = Object.entries(env);
  expect(() => loadConfig(env)).toThrow(ConfigError);
  expect(() => loadConfig(env)).toThrow(`${key}=${value}: `);
});
