/** The service's settings. */
export interface Config {
  /** TCP ports; 0 takes any free one. */
  port: number;
  metricsPort: number;
  logLevel: string;
  greeting: string;
  /** How long a stopping service still takes requests while it reports itself unready. */
  drainSeconds: number;
}

/** A setting that cannot be used; the message names it and its value. */
export class ConfigError extends Error {
  override name = "ConfigError";
}

const levels = ["trace", "debug", "info", "warn", "error", "fatal", "silent"];

/** Reads the settings from environment variables, which come from the ConfigMap. @throws ConfigError */
export function loadConfig(env: NodeJS.ProcessEnv): Config {
  return {
    port: number(env, "PORT", 8080, 65_535),
    metricsPort: number(env, "METRICS_PORT", 9090, 65_535),
    logLevel: oneOf(env, "LOG_LEVEL", "info", levels),
    greeting: env.GREETING ?? "Hello",
    drainSeconds: number(env, "DRAIN_SECONDS", 3, 20),
  };
}

function number(env: NodeJS.ProcessEnv, key: string, otherwise: number, largest: number): number {
  const text = env[key] ?? String(otherwise);
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value <= largest)) throw new ConfigError(`${key}=${text}: expected a number from 0 to ${largest}`);
  return value;
}

function oneOf(env: NodeJS.ProcessEnv, key: string, otherwise: string, values: string[]): string {
  const text = env[key] ?? otherwise;
  if (!values.includes(text)) throw new ConfigError(`${key}=${text}: expected one of ${values.join(", ")}`);
  return text;
}
