/** A configuration that changes while the service runs. */
import { type Config, ConfigError } from "./config.ts";
import type { Context } from "./context.ts";

/**
 * Applies what `load` returns to requests that arrive from now on, except for the ports and the log's directory, which
 * need a restart. If it throws a ConfigError, everything stays as it is. Both outcomes are logged and counted.
 */
export function reload(context: Context, load: () => Config): void {
  const { log, logger, metrics } = context;
  let next: Config;
  try {
    next = load();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    metrics.configReloads.inc({ result: "failure" });
    metrics.configCurrent.set(0);
    logger.error({ reason: error.message }, "the new configuration is refused, the old one stays");
    return;
  }
  metrics.configCurrent.set(1);
  const { PORT, METRICS_PORT, LOG_DIR } = context.config;
  const fixed = { PORT, METRICS_PORT, LOG_DIR };
  const waiting = Object.entries(fixed).filter(([key, value]) => next[key as keyof typeof fixed] !== value);
  if (waiting.length > 0) {
    logger.warn({ keys: waiting.map(([key]) => key) }, "these settings need a restart to change");
  }
  const before: Config = context.config;
  const after: Config = { ...next, ...fixed };
  const keys = (Object.keys(after) as (keyof Config)[]).filter((key) => after[key] !== before[key]);
  if (keys.length === 0) return;
  context.config = after;
  log.settings = after;
  logger.level = after.LOG_LEVEL;
  metrics.configReloads.inc({ result: "success" });
  logger.info({ keys }, "applied a new configuration");
}
