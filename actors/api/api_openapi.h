/* docs/openapi.json, ended by a NUL; the build makes it a part of the program. */
#ifndef AN_ACTORS_API_OPENAPI_H
#define AN_ACTORS_API_OPENAPI_H

extern const char api_openapi[];

#endif
