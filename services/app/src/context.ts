import type { Logger } from "pino";
import type { Config } from "./config.ts";
import type { LogFile } from "./log-file.ts";
import type { Metrics } from "./metrics.ts";
import type { RetryWindow } from "./retries.ts";
import type { Room } from "./room.ts";

/** What the request handlers share. `config` and `draining` are looked at anew for each request. */
export interface Context {
  config: Config;
  draining: boolean;
  log: LogFile;
  logger: Logger;
  metrics: Metrics;
  retries: RetryWindow;
  /** For the bodies of POST /log and of POST /logs: neither keeps out the other. */
  rooms: { line: Room; lines: Room };
}
