// The part of Standard Schema 1 (standardschema.dev) that is used here, so that any library that speaks it fits without a dependency.

/** A schema of Zod, Valibot, ArkType or another library that implements Standard Schema. */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly '~standard': {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => SchemaVerdict<Output> | Promise<SchemaVerdict<Output>>;
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
  };
}

export type SchemaVerdict<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] };

export interface SchemaIssue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

/** What a value must be to be given to a schema. */
export type SchemaInput<S> = S extends StandardSchema<infer Input, unknown> ? Input : unknown;

/** What a value is after a schema let it pass. */
export type SchemaOutput<S> = S extends StandardSchema<infer _, infer Output> ? Output : unknown;
