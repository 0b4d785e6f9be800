// The one error of this folder: a configuration that cannot be used, told in a sentence that names the field.

/** How a message calls a place: `label` is the field as the person wrote it (`--port`, `WAITLESS_PORT`), `place` the file and line. */
export interface Where {
  readonly label?: string | undefined;
  readonly place?: string | undefined;
}

/** Bad configuration. The command prints `message` alone and exits with 78 (EX_CONFIG of sysexits.h). */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  /** The field as the config file calls it, such as `port` or `services.score.timeout`. */
  readonly field: string;

  constructor(field: string, sentence: string, where: Where = {}) {
    super(`${where.label ?? field}: ${sentence}${where.place === undefined ? '' : ` (${where.place})`}`);
    this.field = field;
  }
}

/** What a check throws that knows the value but not the name of the field; whoever knows it turns it into a ConfigError. */
export class WrongValue extends Error {
  override readonly name = 'WrongValue';
}
