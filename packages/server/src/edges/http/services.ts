// Services over HTTP: looking at one with its defaults filled in, making, changing and removing those that are not in the configuration.
import { isName, WaitlessError } from '@waitless/protocol';
import type { ServiceConfig } from '../../config/config-shape.ts';
import type { MadeServices } from '../../core/made-services.ts';
import type { Services } from '../../core/services.ts';
import { isoTime } from '../../lib/clock.ts';
import { type Exchange, type Handler, jsonAnswer } from './exchange.ts';
import { jsonBody } from './json-body.ts';
import { namedService } from './named-service.ts';
import { requireOperator } from './operator.ts';
import { fieldError } from '../json/shape.ts';

export interface ServicesDependencies {
  services: Services;
  made: MadeServices;
  /** The document of a service as people may see it. */
  shown: (service: ServiceConfig) => Record<string, unknown>;
}

const controlBytes = 256 * 1024;

export function serviceHandlers({ services, made, shown }: ServicesDependencies) {
  function nameIn(exchange: Exchange): string {
    const name = exchange.params['service']!;
    // Says what a name is where it is none.
    if (!isName(name)) namedService(services, name);
    return name;
  }

  const json = (service: ServiceConfig): string =>
    JSON.stringify({
      name: service.name,
      source: services.sourceOf(service.name),
      savedAt: isoTime(made.savedAt(service.name)),
      document: shown(service),
    });

  const get: Handler = (exchange) => jsonAnswer(200, json(namedService(services, exchange.params['service']!)));

  const put: Handler = async (exchange) => {
    requireOperator(exchange, 'change services');
    const name = nameIn(exchange);
    const { value } = await jsonBody(exchange, { limit: controlBytes });
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw fieldError(
        'invalid-parameter',
        '',
        'must be a JSON object such as {"target": {"url": "https://score.example.com"}}',
      );
    const { isNew } = await made.save(name, { text: JSON.stringify(value), document: value });
    // Somebody may have removed it in this moment.
    const service = services.get(name);
    if (!service) throw new WaitlessError('unknown-service', `the service ${name} was removed again meanwhile`);
    return jsonAnswer(
      isNew ? 201 : 200,
      json(service),
      isNew ? ['Location', `${exchange.base}/v1/services/${name}`] : [],
    );
  };

  const remove: Handler = async (exchange) => {
    requireOperator(exchange, 'remove services');
    await made.remove(nameIn(exchange));
    return { status: 204, headers: ['Cache-Control', 'no-store'] };
  };

  return { get, put, remove };
}
