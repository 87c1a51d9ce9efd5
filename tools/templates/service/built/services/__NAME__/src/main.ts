import { pino } from "pino";
import { type Config, ConfigError, loadConfig } from "./config.ts";
import { startService } from "./service.ts";

const exitConfig = 78; // EX_CONFIG of sysexits.h
const logger = pino();
const config = readConfig();
logger.level = config.logLevel;

const service = await startService(config, logger).catch((err) => {
  logger.fatal({ err }, "cannot start");
  process.exit(1);
});

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  process.on(signal, () => void service.stop().then(() => process.exit(0)));
}

function readConfig(): Config {
  try {
    return loadConfig(process.env);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    logger.fatal(error.message);
    process.exit(exitConfig);
  }
}
