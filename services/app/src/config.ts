import { readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";

const port = z
  .string()
  .trim()
  .regex(/^\d{1,5}$/, "must be a port number, 0 to 65535")
  .transform(Number)
  .refine((value) => value <= 65_535, "must be a port number, 0 to 65535");

const kib = 1024;
const mib = 1024 * kib;

function bytes(min: number, max: number) {
  return number(min, max, "bytes");
}

function number(min: number, max: number, what: string) {
  const message = `must be a whole number of ${what}, ${min} to ${max}`;
  return z
    .string()
    .trim()
    .regex(/^\d{1,15}$/, message)
    .transform(Number)
    .refine((value) => value >= min && value <= max, message);
}

const level = z
  .string()
  .trim()
  .pipe(z.enum(["trace", "debug", "info", "warn", "error", "fatal", "silent"]));

const text = z.string().min(1, "must not be empty");

// A key is the name of its file and of its environment variable; every value arrives as text.
const defaults = {
  PORT: "8080",
  METRICS_PORT: "9090",
  LOG_LEVEL: "info",
  ACCESS_LOG: "all",
  GREETING: "Welcome to the custom app",
  LOG_DIR: "/app/logs",
  DRAIN_SECONDS: "3",
  SYNC: "always",
  MAX_BODY_BYTES: String(64 * kib),
  MAX_MESSAGE_BYTES: String(32 * kib),
  MAX_LINES_BYTES: String(mib),
  MAX_FILE_BYTES: String(64 * mib),
  KEPT_FILES: "4",
};

const schema = z
  .object({
    PORT: port,
    METRICS_PORT: port,
    LOG_LEVEL: level,
    ACCESS_LOG: z
      .string()
      .trim()
      .pipe(z.enum(["all", "problems"])),
    GREETING: text,
    LOG_DIR: text,
    DRAIN_SECONDS: number(0, 999, "seconds"),
    SYNC: z
      .string()
      .trim()
      .pipe(z.enum(["always", "interval", "never"])),
    MAX_BODY_BYTES: bytes(kib, 4 * mib),
    MAX_MESSAGE_BYTES: bytes(1, 4 * mib),
    MAX_LINES_BYTES: bytes(kib, 16 * mib),
    MAX_FILE_BYTES: bytes(kib, 1024 * 1024 * mib),
    KEPT_FILES: number(1, 100, "files"),
  })
  .refine((config) => config.PORT === 0 || config.PORT !== config.METRICS_PORT, {
    path: ["METRICS_PORT"],
    message: "must differ from PORT",
  });

/**
 * The service's settings. Ports are TCP ports (0: any free one); ACCESS_LOG says which requests get a line in the
 * service's own log (see observe); MAX_BODY_BYTES limits the body of POST /log, MAX_LINES_BYTES that of POST /logs;
 * LOG_DIR is the directory of `app.log`; DRAIN_SECONDS is how long a stopping service still accepts connections while it
 * reports itself unready; SYNC says what an answer to POST /log waits for (see LogSettings). A message's size is that of
 * its UTF-8 before escaping, which turns one byte into up to four. The log takes at most
 * MAX_FILE_BYTES x (1 + KEPT_FILES), which has to stay below the size limit of its volume.
 */
export type Config = z.output<typeof schema>;

/** A setting that cannot be used. The message names the key, the value and where it came from. */
export class ConfigError extends Error {
  override name = "ConfigError";
}

/**
 * Reads the settings: one file per key in `directory`, each overridden by the environment variable of its name.
 * Keys that are set in neither have defaults; a final newline in a file is not part of the value.
 * Throws a ConfigError for a value that is not valid or a file that cannot be read.
 */
export function loadConfig(directory: string, env: NodeJS.ProcessEnv): Config {
  const settings = findAll(directory, env);
  const values = Object.fromEntries([...settings].map(([key, { value }]) => [key, value]));
  const result = schema.safeParse(values);
  if (result.success) return result.data;
  const problems = result.error.issues.map((issue) => {
    const key = String(issue.path[0]);
    const { value, source } = settings.get(key) ?? {};
    return `${key}=${JSON.stringify(value)} (${source}): ${issue.message}`;
  });
  throw new ConfigError(`invalid configuration: ${problems.join("; ")}`);
}

interface Setting {
  value: string;
  source: string;
}

/** Every key's setting, from one version of a mounted ConfigMap even while it is being replaced. */
function findAll(directory: string, env: NodeJS.ProcessEnv): Map<string, Setting> {
  for (;;) {
    const version = versionOf(directory);
    const settings = new Map<string, Setting>();
    for (const [key, value] of Object.entries(defaults)) {
      settings.set(key, find(key, directory, env) ?? { value, source: "default" });
    }
    if (versionOf(directory) === version) return settings;
  }
}

/** Where a mounted ConfigMap's `..data` link leads; empty for a plain directory. */
function versionOf(directory: string): string {
  try {
    return readlinkSync(join(directory, "..data"));
  } catch {
    return "";
  }
}

function find(key: string, directory: string, env: NodeJS.ProcessEnv): Setting | undefined {
  const fromEnvironment = env[key];
  if (fromEnvironment !== undefined) return { value: fromEnvironment, source: "environment" };
  const file = join(directory, key);
  try {
    return { value: readFileSync(file, "utf8").replace(/\r?\n$/, ""), source: file };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new ConfigError(`invalid configuration: ${key} cannot be read: ${(error as Error).message}`);
  }
}
