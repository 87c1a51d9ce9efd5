import type { Logger } from "pino";
import type { Config } from "./config.ts";
import type { LogFile } from "./log-file.ts";
import type { Metrics } from "./metrics.ts";
import type { RetryWindow } from "./retries.ts";
import type { Room } from "./room.ts";

/** What the request handlers share. Each request reads `config` and `draining` anew. */
export interface Context {
  config: Config;
  draining: boolean;
  log: LogFile;
  logger: Logger;
  metrics: Metrics;
  retries: RetryWindow;
  /** Room for the bodies of POST /log and of POST /logs. It is separate, so that neither keeps the other out. */
  rooms: { line: Room; lines: Room };
}
