import { pino } from "pino";
import { type Config, ConfigError, loadConfig } from "./config.ts";
import { watchConfig } from "./config-watch.ts";
import { startService } from "./service.ts";

const exitConfig = 78; // EX_CONFIG of sysexits.h

// A write per line would cost a tenth of a request. What is not written yet is written at exit.
const logger = pino(pino.destination({ sync: false, minLength: 8192, periodicFlush: 100 }));
const directory = process.env.CONFIG_DIR ?? "/app/config";
const load = () => loadConfig(directory, process.env);
const config = readConfig();
logger.level = config.LOG_LEVEL;

const service = await startService(config, logger).catch((err) => {
  logger.fatal({ err }, "cannot start");
  process.exit(1);
});

const reload = () => service.reload(load);
const unwatched = (err: unknown) =>
  logger.warn({ err, directory }, "configuration changes will not be picked up");
try {
  watchConfig(directory, reload, unwatched);
  // The configuration may have changed between reading and watching.
  reload();
} catch (err) {
  unwatched(err);
}

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  process.on(signal, () => void service.stop().then(() => process.exit(0)));
}

function readConfig(): Config {
  try {
    return load();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    logger.fatal(error.message);
    process.exit(exitConfig);
  }
}
